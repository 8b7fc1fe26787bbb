//! What "similar" means in a space.

/// How the similarity of two vectors is defined. A larger similarity is nearer, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The cosine of the angle, from -1 to 1.
    Cosine,
    /// The inner product.
    InnerProduct,
    /// One minus the Euclidean distance, so that equal vectors have similarity 1.
    Euclidean,
}
