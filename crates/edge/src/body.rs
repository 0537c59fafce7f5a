//! Reading a whole body within a bound.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It is larger than it may be. What came of it is thrown away.
    TooLarge,
    /// It ended before its end.
    BrokenOff,
}

/// All of `body`, of at most `limit` bytes. One that comes in one piece is not copied.
///
/// # Errors
/// [`ReadError`]
pub async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    // What is declared is known before the first byte.
    let least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if least > limit {
        return Err(ReadError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ReadError::BrokenOff)?;
        // Trailers say nothing that is of use here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() > limit - first.len().max(all.len()) {
            return Err(ReadError::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(least.max(first.len() + data.len()));
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    async fn pieces(pieces: &[&'static str], limit: usize) -> Result<Bytes, ReadError> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        read(StreamBody::new(stream::iter(frames)), limit).await
    }

    #[tokio::test]
    async fn pieces_are_put_together_within_the_bound() {
        for (given, whole) in [
            (&[][..], ""),
            (&["", ""], ""),
            (&["ab"], "ab"),
            (&["", "ab", "", "c"], "abc"),
            (&["a", "b", "c", "d"], "abcd"),
        ] {
            assert_eq!(pieces(given, 4).await.unwrap(), whole);
        }
        for given in [&["abcde"][..], &["abcd", "e"], &["a", "b", "cde"]] {
            assert_eq!(pieces(given, 4).await, Err(ReadError::TooLarge));
        }
    }

    #[tokio::test]
    async fn one_piece_is_not_copied() {
        let whole = Bytes::from(vec![b'x'; 64]);
        let read = read(Full::new(whole.clone()), 64).await.unwrap();
        assert_eq!(read.as_ptr(), whole.as_ptr());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"a"))),
            Err(std::io::Error::other("reset")),
        ];
        let body = StreamBody::new(stream::iter(frames));
        assert_eq!(read(body, 4).await, Err(ReadError::BrokenOff));
    }
}
