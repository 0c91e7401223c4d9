//! The bytes of one file: counted and hashed as they are stored, decompressed if the name says so.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::source::{BookError, BookSource};

/// Until this size a compressed file may expand as much as it likes.
const FREE_EXPANSION: u64 = 64 << 20;
/// Beyond it, by no more than this factor: price files compress five- to twentyfold.
const MAX_EXPANSION: u64 = 200;

/// What identifies the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) name: String,
    pub(crate) length: u64,
    pub(crate) digest: [u8; 32],
}

/// Why no more bytes come.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The system failed; this is not about the content.
    System(BookError),
    /// The content is unusable, for this reason.
    Content(String),
}

/// Hashes and counts what is read through it.
struct Hashing {
    inner: Box<dyn Read + Send>,
    hasher: Sha256,
    length: u64,
    failed: Option<io::Error>,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    self.length += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    return Err(io::ErrorKind::Other.into());
                }
            }
        }
    }
}

enum Content {
    Plain(Hashing),
    Gzip(Box<MultiGzDecoder<BufReader<Hashing>>>),
}

/// One file of a book, read from front to back.
pub(crate) struct FileBytes {
    name: String,
    content: Content,
    produced: u64,
}

impl FileBytes {
    pub(crate) fn open(source: &dyn BookSource, name: &str) -> Result<Self, BookError> {
        let raw = Hashing { inner: source.open(name)?, hasher: Sha256::new(), length: 0, failed: None };
        let content = if is_gzip(name) {
            Content::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, raw))))
        } else {
            Content::Plain(raw)
        };
        Ok(Self { name: name.to_owned(), content, produced: 0 })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn raw(&mut self) -> &mut Hashing {
        match &mut self.content {
            Content::Plain(raw) => raw,
            Content::Gzip(decoder) => decoder.get_mut().get_mut(),
        }
    }

    /// Reads some bytes; 0 at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let result = match &mut self.content {
            Content::Plain(raw) => raw.read(buffer),
            Content::Gzip(decoder) => decoder.read(buffer),
        };
        match result {
            Ok(count) => {
                self.produced += count as u64;
                let expanded = self.produced > FREE_EXPANSION.max(self.raw().length.saturating_mul(MAX_EXPANSION));
                if expanded && matches!(self.content, Content::Gzip(_)) {
                    return Err(Fault::Content(format!(
                        "the file expands more than {MAX_EXPANSION}-fold, which no book does; reading it was stopped"
                    )));
                }
                Ok(count)
            }
            Err(error) => {
                let name = self.name.clone();
                if let Some(error) = self.raw().failed.take() {
                    return Err(Fault::System(BookError::unreadable(name, error)));
                }
                // What the decoder says, since the system read without complaint.
                Err(Fault::Content(match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        "the compressed data breaks off: the file was not written or copied to its end".to_owned()
                    }
                    _ => format!("the file is not intact gzip data ({error}); compress it again, or name it .csv"),
                }))
            }
        }
    }

    /// Reads the rest without looking at it and says what identifies the file.
    pub(crate) fn finish(mut self) -> Result<Stamp, BookError> {
        let drained = match &mut self.content {
            Content::Plain(raw) => io::copy(raw, &mut io::sink()),
            Content::Gzip(decoder) => {
                let buffered = decoder.get_mut();
                let rest = buffered.buffer().len();
                buffered.consume(rest);
                io::copy(buffered.get_mut(), &mut io::sink())
            }
        };
        let name = self.name.clone();
        if drained.is_err() {
            let error = self.raw().failed.take().unwrap_or_else(|| io::ErrorKind::Other.into());
            return Err(BookError::unreadable(name, error));
        }
        let raw = self.raw();
        Ok(Stamp { name, length: raw.length, digest: std::mem::take(&mut raw.hasher).finalize().into() })
    }
}

pub(crate) fn is_gzip(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "gz")
}

/// The hash of a book: SHA-256 over, for each file in the order of the names, the length of the name, the name, the
/// length of the file, and the file's own SHA-256. Files count as they are stored, compressed or not.
pub(crate) fn content_hash(mut stamps: Vec<Stamp>) -> domain::ids::ContentHash {
    stamps.sort_by(|a, b| a.name.cmp(&b.name));
    let mut all = Vec::with_capacity(stamps.len() * 80);
    for Stamp { name, length, digest } in stamps {
        all.extend((name.len() as u64).to_le_bytes());
        all.extend(name.as_bytes());
        all.extend(length.to_le_bytes());
        all.extend(digest);
    }
    domain::ids::ContentHash::of(&all)
}
