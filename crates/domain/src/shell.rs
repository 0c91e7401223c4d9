//! Words of a command line, quoted so that a POSIX shell reads them back unchanged.

/// The word as a POSIX shell must read it. A word of harmless characters stays as it is; any other word is put between
/// single quotes. A NUL cannot be part of a command line and must not be in the word.
#[must_use]
pub fn quoted(word: &str) -> String {
    // No `=`, which would make an assignment of a first word, and no `~`, which stands for a folder.
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':' | b',');
    if !word.is_empty() && word.bytes().all(harmless) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The words as one line that can be pasted into a POSIX shell.
#[must_use]
pub fn command_line<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_need_quotes_get_them() {
        assert_eq!(quoted("/srv/books/2026-11-24"), "/srv/books/2026-11-24");
        assert_eq!(quoted("dynamodb://nightbook"), "dynamodb://nightbook");
        assert_eq!(quoted("/srv/our book"), "'/srv/our book'");
        assert_eq!(quoted("Bob's"), r"'Bob'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("~"), "'~'");
        assert_eq!(command_line(["nightbook", "run", "--book", "/a b"]), "nightbook run --book '/a b'");
    }
}
