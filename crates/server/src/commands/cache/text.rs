//! From texts and names to vectors and spaces.

use super::answer::meaning_error;
use super::vector::{Vector, blob_of};
use crate::command::{CommandError, Context};
use crate::job::{Job, OwnedReply, Work};
use crate::server::Server;
use std::sync::Arc;
use sutra_embed::Embedder;
use sutra_protocol::Reply;
use sutra_shard::{Guard, Metric, Quantization, Space, SpaceOptions};

/// The spaces whose dimension VECTOR_DIMENSION fixes: the one for vectors that clients bring, and the one for texts as far as clients bring
/// the vectors. What the embedder makes there has the embedder's dimension, so that a deployment for one model's vectors can use texts too.
const DEFAULT_SPACES: [&[u8]; 2] = [b"default", b"text"];

/// Scans that take longer than this many microseconds are left to background threads: handing one over and back costs some 20 of them.
const SCAN_US_MAX: u64 = 300;

/// A vector that a command owns, or the text that it is to be made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    Values(Vec<u8>),
    Text(String),
}

impl Source {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Source::Text(text) => Some(text),
            Source::Values(_) => None,
        }
    }
}

impl From<Vector<'_>> for Source {
    fn from(vector: Vector<'_>) -> Source {
        match vector {
            Vector::Values(blob) => Source::Values(blob.into_owned()),
            Vector::Text(text) => Source::Text(text.to_owned()),
        }
    }
}

/// Who made a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    /// A client.
    Client,
    /// A client, and it is the value too.
    Itself,
    /// Our embedder.
    Server,
}

/// What is left of a command once it has its vector.
pub(super) type Rest = Box<dyn FnOnce(&mut Work<'_>, Vec<u8>) -> Result<OwnedReply, CommandError> + Send>;

/// Leaves the rest of a command to a job, with its vector: apart if that takes long.
pub(super) fn leave(
    cx: &mut Context<'_, '_>,
    space: &[u8],
    source: Source,
    is_long: bool,
    rest: Rest,
) -> Result<OwnedReply, CommandError> {
    let blob = match source {
        Source::Values(blob) => blob,
        Source::Text(text) => {
            let embedder = embedder_of(cx.server, space)?;
            if !embedder.is_immediate() {
                return Ok(cx.defer(Job::Embedded(text, Box::new(|work, vector| rest(work, blob_of(&vector))))));
            }
            blob_of(&embed(embedder, &text)?)
        }
    };
    Ok(leave_job(cx, is_long, move |work| rest(work, blob)))
}

/// Leaves a job: apart if it takes long.
pub(super) fn leave_job(
    cx: &mut Context<'_, '_>,
    is_long: bool,
    task: impl FnOnce(&mut Work<'_>) -> Result<OwnedReply, CommandError> + Send + 'static,
) -> OwnedReply {
    cx.defer(if is_long { Job::Apart(Box::new(task)) } else { Job::Soon(Box::new(task)) })
}

/// Whether a scan of this space (of all entries, if there is none) takes so long that other clients should not wait for it.
pub(super) fn is_long(server: &Server, space: Option<&Space>) -> bool {
    server.shard.estimated_scan_us(space) > SCAN_US_MAX
}

/// The server's embedder, if it may make vectors for this space, which need not be there yet.
pub(super) fn embedder_of<'s>(server: &'s Server, space: &[u8]) -> Result<&'s dyn Embedder, CommandError> {
    let Some(embedder) = server.embedding.embedder() else {
        return Err(CommandError::text("ERR TEXT needs an embedder, and this server has none (EMBEDDER=none)"));
    };
    match server.shard.space(space) {
        Some(there) if there.options().embedder != embedder.name() => Err(other_embedder(&there, embedder.name())),
        Some(_) | None => Ok(embedder),
    }
}

fn other_embedder(space: &Space, ours: &str) -> CommandError {
    let name = String::from_utf8_lossy(space.name());
    CommandError::text(match space.options().embedder.as_str() {
        "" => format!("ERR space '{name}' holds vectors that clients have made, this server's embedder is '{ours}'"),
        theirs => format!("ERR space '{name}' was made by embedder '{theirs}', this server's is '{ours}'"),
    })
}

/// The vector of a text, now.
pub(super) fn embed(embedder: &dyn Embedder, text: &str) -> Result<Vec<f32>, CommandError> {
    let mut vectors = Vec::with_capacity(1);
    embedder.embed(&[text], &mut vectors).map_err(embed_error)?;
    vectors.pop().ok_or_else(|| CommandError::text("ERR the embedder has answered nothing"))
}

/// An embedder's error as a reply.
pub(crate) fn embed_error(error: sutra_embed::EmbedError) -> CommandError {
    CommandError::text(format!("ERR {error}"))
}

/// The space of this name for a vector of this dimension; made if it is not there. `maker` says who made the vector.
pub(super) fn space_for(
    server: &Server,
    name: &[u8],
    dimension: usize,
    maker: Maker,
) -> Result<Arc<Space>, CommandError> {
    let embedder = match maker {
        Maker::Server => server.embedding.name(),
        Maker::Client | Maker::Itself => None,
    };
    let space = match server.shard.space(name) {
        Some(space) => space,
        None => {
            if maker != Maker::Server {
                check_default_dimension(server, name, dimension)?;
            }
            let mut options = default_options(server, dimension, embedder.unwrap_or_default());
            if maker == Maker::Itself {
                // A value that is its own vector is there whole anyway.
                options.quantization = Quantization::Cascade;
            }
            server.shard.space_or_create(name, &options).map_err(meaning_error)?
        }
    };
    if let Some(ours) = embedder
        && space.options().embedder != ours
    {
        return Err(other_embedder(&space, ours));
    }
    check_dimension(&space, dimension)?;
    Ok(space)
}

/// `ERR the vector has 384 dimensions, space 'x' has 768`
pub(super) fn check_dimension(space: &Space, dimension: usize) -> Result<(), CommandError> {
    if space.dimension() == dimension {
        return Ok(());
    }
    let (name, expected) = (String::from_utf8_lossy(space.name()), space.dimension());
    Err(CommandError::text(format!("ERR the vector has {dimension} dimensions, space '{name}' has {expected}")))
}

/// VECTOR_DIMENSION holds for the vectors that clients bring into the default spaces.
pub(super) fn check_default_dimension(server: &Server, name: &[u8], dimension: usize) -> Result<(), CommandError> {
    let expected = server.settings.vector_dimension as usize;
    if !DEFAULT_SPACES.contains(&name) || expected == 0 || expected == dimension {
        return Ok(());
    }
    let name = String::from_utf8_lossy(name);
    Err(CommandError::text(format!(
        "ERR the vector has {dimension} dimensions, space '{name}' takes {expected} (VECTOR_DIMENSION)"
    )))
}

/// How a space is made that nobody has described.
pub(super) fn default_options(server: &Server, dimension: usize, embedder: &str) -> SpaceOptions {
    SpaceOptions {
        dimension,
        metric: Metric::Cosine,
        embedder: embedder.to_owned(),
        quantization: if server.settings.meaning.int8_only { Quantization::Int8Only } else { Quantization::Cascade },
        guard: Guard::default(),
    }
}

/// A reply that is a similarity: the shortest decimal that reads as the same number of 32 bits, since it may be given back as a threshold.
pub(super) fn similarity(value: f32) -> OwnedReply {
    Reply::Double(value.to_string().parse().unwrap_or_else(|_| f64::from(value)))
}
