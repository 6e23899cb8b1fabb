# Write predictions.csv: what models trained by Julia answer about 600 made-up rows.
# Run it by: julia write_predictions.jl
using LinearAlgebra, Random # both come with Julia

rng = MersenneTwister(1)
x = randn(rng, 600, 8)
y = Int.(x[:, 1] .+ x[:, 2] .* x[:, 3] .> 0) # classes are counted from 0
noisy = rand(rng, 600) .< 0.2
y[noisy] = rand(rng, 0:1, count(noisy))
part = [fill("retain", 250); fill("forget", 100); fill("test", 250)]

# Random features, and ridge regression on the classes; its scores serve as logits.
function train(rows, seed)
    rng = MersenneTwister(seed)
    weights, shifts = randn(rng, 8, 1000), randn(rng, 1, 1000)
    features = max.(x * weights .+ shifts, 0)
    targets = Float64.(y[rows] .== [0 1])
    h = features[rows, :]
    return 4 .* features * ((h'h + I) \ (h'targets))
end

models = [
    ("retrained", 1:250, 1:39),
    ("identity", 1:250, 101:102),
    ("originals", 1:350, 201:208),
    ("audited", 1:250, 1000:1000), # here stands your unlearned model
]

open("predictions.csv", "w") do file
    println(file, "group,model,part,id,label,logit0,logit1")
    for (group, rows, seeds) in models, seed in seeds
        logits = train(rows, seed)
        for i in 1:600
            line = (group, seed, part[i], "row-$i", y[i], logits[i, 1], logits[i, 2])
            println(file, join(line, ","))
        end
    end
end
