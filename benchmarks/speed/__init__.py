"""How fast the audit is, beside other tools, plain loops and itself at other sizes.

python -m benchmarks.speed
"""
