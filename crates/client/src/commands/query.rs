//! What something is found by.

use crate::Request;
use crate::codec::ToValue;

/// The space of vectors that name none.
pub(crate) const VECTOR_SPACE: &str = "default";
/// The space of texts that name none.
pub(crate) const TEXT_SPACE: &str = "text";

/// A vector, or a text that the shard's embedder makes one of.
///
/// ```
/// use sutra_cache_client::Query;
///
/// assert_eq!(Query::from([0.5, 1.0]), Query::Vector(vec![0.5, 1.0]));
/// assert_eq!(Query::from("how do I return it?"), Query::Text("how do I return it?".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// Of the dimension of its space, without NaN and infinity, not all zero: the shard refuses others.
    Vector(Vec<f32>),
    /// For a space whose vectors the shard's own embedder makes.
    Text(String),
}

impl Query {
    pub(crate) fn push(&self, request: Request) -> Request {
        match self {
            Query::Vector(vector) => request.arg("FP32").arg(blob(vector)),
            Query::Text(text) => request.arg("TEXT").arg(text),
        }
    }

    /// The space that is meant if none is named: vectors of clients and of the embedder do not mix.
    pub(crate) fn default_space(&self) -> &'static str {
        match self {
            Query::Vector(_) => VECTOR_SPACE,
            Query::Text(_) => TEXT_SPACE,
        }
    }
}

/// A vector as commands carry it.
pub(crate) fn blob(vector: &[f32]) -> Vec<u8> {
    vector.to_value().map(std::borrow::Cow::into_owned).unwrap_or_default()
}

impl From<Vec<f32>> for Query {
    fn from(vector: Vec<f32>) -> Query {
        Query::Vector(vector)
    }
}

impl From<&[f32]> for Query {
    fn from(vector: &[f32]) -> Query {
        Query::Vector(vector.to_vec())
    }
}

impl From<&Vec<f32>> for Query {
    fn from(vector: &Vec<f32>) -> Query {
        Query::Vector(vector.clone())
    }
}

impl<const N: usize> From<[f32; N]> for Query {
    fn from(vector: [f32; N]) -> Query {
        Query::Vector(vector.to_vec())
    }
}

impl<const N: usize> From<&[f32; N]> for Query {
    fn from(vector: &[f32; N]) -> Query {
        Query::Vector(vector.to_vec())
    }
}

impl From<String> for Query {
    fn from(text: String) -> Query {
        Query::Text(text)
    }
}

impl From<&str> for Query {
    fn from(text: &str) -> Query {
        Query::Text(text.to_owned())
    }
}

impl From<&String> for Query {
    fn from(text: &String) -> Query {
        Query::Text(text.clone())
    }
}
