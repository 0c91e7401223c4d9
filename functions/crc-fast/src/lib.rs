//! The checksums that S3 knows by CRC, under the names by which the SDK asks for them.
//!
//! The crate of this name is for a hundred kinds of CRC and chooses among them while it runs, so that the linker keeps the
//! tables of all: 0.66 MB of each function that uses S3. `[patch]` of the functions puts this one in its place, with the
//! three that the SDK asks for.

#![forbid(unsafe_code)]

/// A kind of checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrcAlgorithm {
    /// CRC-32, as in gzip.
    Crc32IsoHdlc,
    /// CRC-32C.
    Crc32Iscsi,
    /// CRC-64/NVME.
    Crc64Nvme,
}

/// Where a checksum stands. All three are reflected, and begin and end inverted.
#[derive(Debug, Clone)]
enum State {
    Gzip(crc32fast::Hasher),
    Iscsi(u32),
    Nvme(u64),
}

/// A checksum of bytes that come in parts.
#[derive(Debug, Clone)]
pub struct Digest {
    state: State,
}

impl Digest {
    /// Of no bytes yet.
    #[must_use]
    pub fn new(algorithm: CrcAlgorithm) -> Self {
        let state = match algorithm {
            CrcAlgorithm::Crc32IsoHdlc => State::Gzip(crc32fast::Hasher::new()),
            CrcAlgorithm::Crc32Iscsi => State::Iscsi(!0),
            CrcAlgorithm::Crc64Nvme => State::Nvme(!0),
        };
        Self { state }
    }

    /// With these bytes after those before.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Gzip(hasher) => hasher.update(bytes),
            State::Iscsi(crc) => {
                *crc = bytes.iter().fold(*crc, |crc, byte| ISCSI[usize::from(crc as u8 ^ byte)] ^ (crc >> 8));
            }
            State::Nvme(crc) => {
                *crc = bytes.iter().fold(*crc, |crc, byte| NVME[usize::from(crc as u8 ^ byte)] ^ (crc >> 8));
            }
        }
    }

    /// The checksum, in the low bits.
    #[must_use]
    pub fn finalize(&self) -> u64 {
        match &self.state {
            State::Gzip(hasher) => hasher.clone().finalize().into(),
            State::Iscsi(crc) => (!crc).into(),
            State::Nvme(crc) => !crc,
        }
    }
}

/// The checksum of bytes that are all there.
#[must_use]
pub fn checksum(algorithm: CrcAlgorithm, bytes: &[u8]) -> u64 {
    let mut digest = Digest::new(algorithm);
    digest.update(bytes);
    digest.finalize()
}

static ISCSI: [u32; 256] = {
    let wide = table(0x82f6_3b78);
    let mut narrow = [0; 256];
    let mut at = 0;
    while at < 256 {
        narrow[at] = wide[at] as u32;
        at += 1;
    }
    narrow
};

static NVME: [u64; 256] = table(0x9a6c_9329_ac4b_c9b5);

/// What each byte adds, for a polynomial with its bits reversed.
const fn table(polynomial: u64) -> [u64; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut crc, mut bit) = (at as u64, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ polynomial } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}
