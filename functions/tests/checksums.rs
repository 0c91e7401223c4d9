//! The checksums of `functions/crc-fast`, which stand in the place of another crate.

use crc_fast::{CrcAlgorithm, Digest, checksum};

#[test]
fn the_checksums_of_s3_have_the_check_values_of_their_definitions() {
    for (algorithm, expected) in [
        (CrcAlgorithm::Crc32IsoHdlc, 0xcbf4_3926),
        (CrcAlgorithm::Crc32Iscsi, 0xe306_9283),
        (CrcAlgorithm::Crc64Nvme, 0xae8b_1486_0a79_9888),
    ] {
        assert_eq!(checksum(algorithm, b"123456789"), expected, "{algorithm:?}");
        let mut digest = Digest::new(algorithm);
        digest.update(b"1234");
        digest.update(b"");
        digest.update(b"56789");
        assert_eq!(digest.finalize(), expected, "{algorithm:?} in parts");
        assert_eq!(checksum(algorithm, b""), 0, "{algorithm:?} of nothing");
    }
}
