//! How what replicas send looks: a version, a kind, then the line and the number of the frame, or from whom
//! it is, and the bytes themselves.

use bytes::{BufMut as _, Bytes, BytesMut};

const VERSION: u8 = 1;
/// More than all that stands before the bytes.
pub(super) const HEAD: usize = 256;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Opens a line; with the greeting.
    Open = b'o',
    /// A part of a message that goes on.
    Part = b'p',
    /// The last part of a message.
    Last = b'l',
    /// Nothing more will come.
    Close = b'c',
    /// Is the line still there?
    Ping = b'i',
    /// Who is looked for?
    Question = b'q',
    /// Something to know.
    News = b'n',
}

/// What is said to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Said {
    /// It has arrived.
    Taken = b'T',
    /// Not now: too much waits.
    Full = b'F',
    /// There is no such line.
    Unknown = b'U',
    /// No more lines.
    Refused = b'R',
}

/// A frame, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Empty where it is of none.
    pub(super) line: String,
    /// Counts the frames of a line from 0; 0 where it has none.
    pub(super) number: u64,
    /// The replica, where the kind says so; else empty.
    pub(super) from: String,
    pub(super) bytes: Bytes,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Open,
        Self::Part,
        Self::Last,
        Self::Close,
        Self::Ping,
        Self::Question,
        Self::News,
    ];
}

impl Said {
    const ALL: [Self; 4] = [Self::Taken, Self::Full, Self::Unknown, Self::Refused];

    pub(super) fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&[self as u8])
    }

    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let [one] = bytes else { return None };
        Self::ALL.into_iter().find(|said| *said as u8 == *one)
    }
}

impl Frame {
    /// One that says from whom it is.
    pub(super) fn from(kind: Kind, line: &str, from: &str, bytes: &[u8]) -> Bytes {
        write(kind, line, 0, from, bytes)
    }

    /// One of a line.
    pub(super) fn of(kind: Kind, line: &str, number: u64, bytes: &[u8]) -> Bytes {
        write(kind, line, number, "", bytes)
    }

    /// `None` of what is no frame of this version.
    pub(super) fn read(bytes: &Bytes) -> Option<Self> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (kind, rest) = rest.split_first()?;
        let kind = Kind::ALL.into_iter().find(|one| *one as u8 == *kind)?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (line, rest) = text(rest)?;
        let (from, rest) = text(rest)?;
        Some(Self {
            kind,
            line,
            number: u64::from_be_bytes(*number),
            from,
            bytes: bytes.slice_ref(rest),
        })
    }
}

fn write(kind: Kind, line: &str, number: u64, from: &str, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + bytes.len());
    frame.put_u8(VERSION);
    frame.put_u8(kind as u8);
    frame.put_u64(number);
    for text in [line, from] {
        // Names that replicas make are much shorter.
        let text = text.get(..text.len().min(64)).unwrap_or_default();
        frame.put_u8(u8::try_from(text.len()).unwrap_or_default());
        frame.put_slice(text.as_bytes());
    }
    frame.put_slice(bytes);
    frame.freeze()
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(text).ok()?.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for kind in Kind::ALL {
            let written = write(kind, "abc", u64::MAX - 1, "me", b"\0bytes");
            let read = Frame::read(&written).unwrap();
            let expected = Frame {
                kind,
                line: "abc".into(),
                number: u64::MAX - 1,
                from: "me".into(),
                bytes: Bytes::from_static(b"\0bytes"),
            };
            assert_eq!(read, expected);
            for end in 0..written.len() - 6 {
                assert_eq!(Frame::read(&written.slice(..end)), None, "{end}");
            }
        }
        for said in Said::ALL {
            assert_eq!(Said::of(&said.to_bytes()), Some(said));
        }
        assert_eq!(Said::of(b""), None);
        assert_eq!(Frame::read(&Bytes::from_static(b"\x02l12345678\0\0")), None);
    }
}
