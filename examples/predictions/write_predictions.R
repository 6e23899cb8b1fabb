# Write predictions.csv: what networks trained by R answer about the diabetes of 532 women.
# Run it by: Rscript write_predictions.R
library(MASS) # the women; like nnet it comes with R
library(nnet)

women <- rbind(Pima.tr, Pima.te)
set.seed(1)
women <- women[sample(nrow(women)), ]
x <- scale(as.matrix(women[, 1:7]))
y <- as.integer(women$type == "Yes") # classes are counted from 0
part <- rep(c("retain", "forget", "test"), c(200, 100, 232))

train <- function(rows, seed) {
  set.seed(seed)
  nnet(x[rows, ], y[rows], size = 20, maxit = 300, decay = 0.01, entropy = TRUE, trace = FALSE)
}

answers <- function(group, model, network) {
  p1 <- sprintf("%.17g", predict(network, x)[, 1])
  data.frame(group, model, part, id = paste0("woman-", seq_along(y)), label = y, p1)
}

retain <- part == "retain"
trained <- part != "test"
lines <- c(
  lapply(1:39, function(k) answers("retrained", k, train(retain, k))),
  lapply(1:2, function(k) answers("identity", k, train(retain, 100 + k))),
  lapply(1:8, function(k) answers("originals", k, train(trained, 200 + k))),
  list(answers("audited", 1, train(retain, 300))) # here stands your unlearned model
)
write.csv(do.call(rbind, lines), "predictions.csv", row.names = FALSE)
