//! The bytes of one file: counted and hashed as they are stored, decompressed if the name says so.

use std::io::{self, BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::source::{BookError, BookSource, MAX_FILE_BYTES};
use crate::value::grouped;

/// Until this size a compressed file may expand as much as it likes.
const FREE_EXPANSION: u64 = 16 << 20;
/// Beyond it, by no more than this factor: price files compress five- to twentyfold.
const MAX_EXPANSION: u64 = 100;
/// Reading a file may take this long, from its first byte to its last.
const MAX_TIME: Duration = Duration::from_secs(600);

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
    until: Instant,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.until {
            let message = format!("reading it took longer than {} s", MAX_TIME.as_secs());
            self.failed = Some(io::Error::new(io::ErrorKind::TimedOut, message));
            return Err(io::ErrorKind::Other.into());
        }
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
    /// Nothing that can be read, for this reason.
    Refused(String),
}

/// One file of a book, read from front to back.
pub(crate) struct FileBytes {
    name: String,
    content: Content,
    produced: u64,
}

impl FileBytes {
    pub(crate) fn open(source: &dyn BookSource, name: &str) -> Result<Self, BookError> {
        Self::open_within(source, name, MAX_TIME)
    }

    /// Opens a file that must be read within this time.
    fn open_within(source: &dyn BookSource, name: &str, time: Duration) -> Result<Self, BookError> {
        let inner = match source.open(name) {
            Ok(inner) => inner,
            // One finding among the others, at the name of its file.
            Err(BookError::Refused { reason, .. }) => {
                return Ok(Self { name: name.to_owned(), content: Content::Refused(reason), produced: 0 });
            }
            Err(error) => return Err(error),
        };
        let until = Instant::now() + time;
        let raw = Hashing { inner, hasher: Sha256::new(), length: 0, failed: None, until };
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

    /// What is read from the source; `None` if nothing can be read.
    fn raw(&mut self) -> Option<&mut Hashing> {
        match &mut self.content {
            Content::Plain(raw) => Some(raw),
            Content::Gzip(decoder) => Some(decoder.get_mut().get_mut()),
            Content::Refused(_) => None,
        }
    }

    /// Why the file is too large by now, if it is.
    fn too_large(&mut self) -> Option<String> {
        let stored = self.raw().map_or(0, |raw| raw.length);
        if stored.max(self.produced) > MAX_FILE_BYTES {
            let largest = grouped(MAX_FILE_BYTES);
            return Some(format!(
                "the file has more than {largest} bytes, which no file of a book may; reading it was stopped"
            ));
        }
        let expanded = self.produced > FREE_EXPANSION.max(stored.saturating_mul(MAX_EXPANSION));
        (expanded && matches!(self.content, Content::Gzip(_))).then(|| {
            format!("the file expands more than {MAX_EXPANSION}-fold, which no book does; reading it was stopped")
        })
    }

    /// Reads some bytes; 0 at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let result = match &mut self.content {
            Content::Plain(raw) => raw.read(buffer),
            Content::Gzip(decoder) => decoder.read(buffer),
            Content::Refused(reason) => return Err(Fault::Content(reason.clone())),
        };
        match result {
            Ok(count) => {
                self.produced += count as u64;
                match self.too_large() {
                    Some(message) => Err(Fault::Content(message)),
                    None => Ok(count),
                }
            }
            Err(error) => {
                let name = self.name.clone();
                if let Some(error) = self.raw().and_then(|raw| raw.failed.take()) {
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

    /// Reads the rest without looking at it and says what identifies the file. Of a file that is too large no more is read:
    /// it makes no book.
    pub(crate) fn finish(mut self) -> Result<Stamp, BookError> {
        if self.too_large().is_some() {
            return Ok(self.stamp());
        }
        let drained = match &mut self.content {
            Content::Plain(raw) => io::copy(raw, &mut io::sink()),
            Content::Gzip(decoder) => {
                let buffered = decoder.get_mut();
                let rest = buffered.buffer().len();
                buffered.consume(rest);
                io::copy(buffered.get_mut(), &mut io::sink())
            }
            Content::Refused(_) => Ok(0),
        };
        if drained.is_err() {
            let failed = self.raw().and_then(|raw| raw.failed.take());
            return Err(BookError::unreadable(self.name, failed.unwrap_or_else(|| io::ErrorKind::Other.into())));
        }
        Ok(self.stamp())
    }

    /// What identifies the bytes that were read.
    fn stamp(mut self) -> Stamp {
        let (length, hasher) = match self.raw() {
            Some(raw) => (raw.length, std::mem::take(&mut raw.hasher)),
            None => (0, Sha256::new()),
        };
        Stamp { name: self.name, length, digest: hasher.finalize().into() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MemorySource;

    /// A source of endless zeros.
    struct Endless;

    impl BookSource for Endless {
        fn names(&self) -> Result<Vec<String>, BookError> {
            Ok(vec!["prices.csv".to_owned()])
        }

        fn open(&self, _: &str) -> Result<Box<dyn Read + Send>, BookError> {
            Ok(Box::new(io::repeat(0)))
        }
    }

    #[test]
    fn a_file_that_takes_too_long_is_a_fault_of_the_machine() {
        let source = MemorySource::new([("prices.csv".to_owned(), b"date".to_vec())].into());
        let mut file = FileBytes::open_within(&source, "prices.csv", Duration::ZERO).unwrap();
        let Err(Fault::System(error)) = file.fill(&mut [0; 8]) else { panic!("the time is over") };
        assert!(error.is_of_the_machine());
        assert!(error.to_string().contains("reading it took longer than 600 s"), "{error}");
    }

    #[test]
    fn a_file_without_end_is_stopped_at_the_largest_size() {
        let mut file = FileBytes::open(&Endless, "prices.csv").unwrap();
        file.produced = MAX_FILE_BYTES - 8;
        assert_eq!(file.fill(&mut [1; 8]).unwrap(), 8);
        let Err(Fault::Content(message)) = file.fill(&mut [1; 8]) else { panic!("one byte too many") };
        assert!(message.contains("more than 2,147,483,648 bytes"), "{message}");
        assert_eq!(file.finish().unwrap().length, 16, "what is left is not read for the hash");
    }
}
