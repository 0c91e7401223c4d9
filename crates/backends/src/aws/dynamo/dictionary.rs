//! Compression of records against a text that has what all of them have: names of fields, of jobs, words. A portfolio's
//! records become two thirds of what gzip makes of them, so that they fit into the two kilobytes that two write units pay.
//!
//! The format is that of zlib's preset dictionaries: Python reads it by `zlib.decompressobj(-15, zdict=text)`. The text
//! is in the table as well.

use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// Which text this is. Another text is another number, and what was packed by this one is read by it for ever.
pub(super) const NUMBER: u32 = 1;

/// The text. It never changes.
pub(super) const TEXT: &str = include_str!("records.v1.txt");

/// The attribute that holds it in the table.
pub(super) const ATTRIBUTE: &str = "text";

/// Compresses.
pub(super) fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(TEXT.as_bytes())?;
    // What follows begins on a whole byte, and still refers to the text.
    encoder.flush()?;
    let known = encoder.get_ref().len();
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.split_off(known))
}

/// The content again.
pub(super) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(TEXT.len()).map_err(io::Error::other)?;
    // The text as a block that is not compressed, and not the last.
    let mut stream = vec![0];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend_from_slice(TEXT.as_bytes());
    stream.extend_from_slice(packed);
    let mut bytes = Vec::new();
    DeflateDecoder::new(stream.as_slice()).read_to_end(&mut bytes)?;
    bytes.drain(..TEXT.len());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ids::ContentHash;

    #[test]
    fn the_text_never_changes() {
        let hash = "b981f69f03ee8da23482fa4978c2829a4dddd1b19f998bf1767490b32a24e398";
        assert_eq!(ContentHash::of(TEXT.as_bytes()).as_str(), hash, "another text needs another number");
    }

    #[test]
    fn what_is_packed_comes_back() {
        for bytes in [&b""[..], b"{}", TEXT.as_bytes(), &TEXT.as_bytes().repeat(20)] {
            assert_eq!(unpack(&pack(bytes).unwrap()).unwrap(), bytes);
        }
        assert!(pack(TEXT.as_bytes()).unwrap().len() < 100, "the text is known");
        assert!(unpack(b"something else").is_err());
    }
}
