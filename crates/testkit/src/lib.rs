//! Development only: simulated storage, a model cache, the conversation runner.
