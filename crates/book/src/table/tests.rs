//! Rows of every form, and headers of every kind.

use super::*;
use crate::source::MemorySource;
use proptest::prelude::*;

const ANY: Columns = Columns { required: &["a", "b", "c"], optional: &[] };

/// The fields of each row with its line, and the errors as "line:column:message".
fn split(content: &[u8]) -> (Vec<(u64, Vec<String>)>, Vec<String>) {
    let mut source = MemorySource::default();
    source.insert("t.csv", content);
    let (mut errors, mut warnings) = (Findings::new("t.csv"), Findings::new("t.csv"));
    let mut table = Table::open(&source, "t.csv", &ANY, &mut errors, &mut warnings).unwrap();
    let (mut row, mut rows) = (Row::default(), Vec::new());
    while table.next(&mut row, &mut errors).unwrap() {
        let field = |&(from, to): &(usize, usize)| String::from_utf8(row.bytes[from..to].to_vec()).unwrap();
        rows.push((row.line, row.fields.iter().map(field).collect()));
    }
    let errors = errors.finish().into_iter().map(|e| format!("{}:{}:{}", e.line, e.column, e.message)).collect();
    (rows, errors)
}

fn fields(row: [&str; 3]) -> Vec<String> {
    row.map(str::to_owned).to_vec()
}

#[test]
fn rows_keep_their_line_over_blank_lines_and_quoted_line_ends() {
    let (rows, errors) = split(b"\xef\xbb\xbfa,b,c\r\n1,2,3\r\n\r\n  \n\"x\ny\",\"q\"\"q\",\"\"\n4,,6");
    assert_eq!(errors, [""; 0]);
    assert_eq!(rows, [(2, fields(["1", "2", "3"])), (5, fields(["x\ny", "q\"q", ""])), (7, fields(["4", "", "6"]))]);
}

#[test]
fn wrong_quoting_is_an_error_and_the_next_line_is_read() {
    for (line, column, complaint) in [
        ("1,x\"y,3", "b", "a quote inside an unquoted value"),
        ("1,\"x\"y,3", "b", "text after a closing quote"),
        ("1,\"x\" ,3", "b", "text after a closing quote"),
        ("1, \"x\",3", "b", "a quote inside an unquoted value"),
        ("1,2,\"x", "c", "the quote that begins this field is never closed"),
    ] {
        let (rows, errors) = split(format!("a,b,c\n{line}\n7,8,9\n").as_bytes());
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
        assert!(errors[0].starts_with(&format!("2:{column}:{complaint}")), "{line}: {errors:?}");
        assert_eq!(rows, [(3, fields(["7", "8", "9"]))], "{line}");
    }
}

#[test]
fn what_is_no_text_is_named_with_its_line_and_column() {
    let (rows, errors) = split(b"a,b,c\n1,\xff,3\n4,5,6\n7,8,\0\n");
    assert_eq!(rows, [(3, fields(["4", "5", "6"]))]);
    assert!(errors[0].starts_with("2:b:not UTF-8"), "{errors:?}");
    assert!(errors[1].starts_with("4:c:a NUL byte"), "{errors:?}");
}

#[test]
fn long_fields_and_lines_are_refused_and_left_behind() {
    let content = format!("a,b,c\n1,{},3\n4,{},6\n7,8,9\n", "x".repeat(70_000), "y".repeat(3 << 20));
    let (rows, errors) = split(content.as_bytes());
    assert_eq!(rows, [(4, fields(["7", "8", "9"]))]);
    assert_eq!(errors.len(), 2);
    assert!(errors[0].starts_with("2:b:a value may have 65,536 bytes"), "{errors:?}");
    assert!(errors[1].starts_with("3::a line may have 1,048,576 bytes"), "{errors:?}");
}

#[test]
fn a_header_that_does_not_do_says_why() {
    let first = |content: &[u8]| split(content).1.join(" | ");
    assert!(first(b"").contains("the file is empty"));
    assert!(first(b"\n\n").contains("the file is empty"));
    assert!(first(b"a,b\n").contains("the column `c` is missing"));
    assert!(first(b"a,b,C\n").contains("has `C`: write it exactly as `c`"));
    assert!(first(b"a,b,c,a\n").contains("names this column twice"));
    assert!(first(b"a,\"b,c\n").contains("in the header: the quote"));
    assert!(first(b"\xff\xfea\0,\0").contains("UTF-16"));
    assert!(first(b"\x1f\x8b\x08\0").contains(".csv.gz"));
    assert!(first("a,".repeat(1_000).as_bytes()).contains("the header has 1,001 columns, allowed are 1,000"));
    assert!(first(b"PK\x03\x04").contains("export it as CSV"));
}

proptest! {
    #[test]
    fn what_another_writer_wrote_is_read_back(
        rows in proptest::collection::vec(proptest::array::uniform3("[a-z\",\n ]{0,6}"), 0..20),
        crlf in any::<bool>(),
    ) {
        let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new().terminator(end).from_writer(Vec::new());
        writer.write_record(["a", "b", "c"]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let (ours, errors) = split(&writer.into_inner().unwrap());
        prop_assert_eq!(errors, Vec::<String>::new());
        let ours: Vec<Vec<String>> = ours.into_iter().map(|(_, fields)| fields).collect();
        prop_assert_eq!(ours, rows.into_iter().map(|row| row.to_vec()).collect::<Vec<_>>());
    }

    #[test]
    fn where_there_are_no_errors_the_csv_crate_agrees(content in "([a,]{0,6}\n?|\"[a,]{0,3}(\"\")?\"[,\n]|[a\",\n]{0,4}){0,6}") {
        let content = format!("a,b,c\n{content}");
        let (ours, errors) = split(content.as_bytes());
        if !errors.is_empty() {
            return Ok(());
        }
        let theirs: Vec<Vec<String>> = csv::ReaderBuilder::new()
            .flexible(true)
            .from_reader(content.as_bytes())
            .records()
            .map(|record| record.unwrap().iter().map(str::to_owned).collect())
            .collect();
        let ours: Vec<Vec<String>> = ours.into_iter().map(|(_, fields)| fields).collect();
        prop_assert_eq!(ours, theirs);
    }
}
