//! Bodies of answers, read in pieces up to a limit.
//!
//! The limit counts bytes after decompression: a small answer cannot unpack into a large one.

use bytes::{Bytes, BytesMut};
use reqwest::Response;

/// The size that an answer may have where nothing else is set.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the limit; the rest was not read.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The connection broke or the deadline passed.
    #[error("the answer broke off")]
    Broken(#[source] reqwest::Error),
}

/// Reads a body, and stops reading once it exceeds `limit`.
///
/// # Errors
/// Where it is too large, or breaks off.
pub async fn body(mut response: Response, limit: usize) -> Result<Bytes, BodyError> {
    let mut read = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(BodyError::Broken)? {
        if read.len().saturating_add(piece.len()) > limit {
            return Err(BodyError::TooLarge { limit });
        }
        read.extend_from_slice(&piece);
    }
    Ok(read.freeze())
}
