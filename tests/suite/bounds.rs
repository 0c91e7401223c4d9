//! Books that are too large, or no files at all: each ends at once, with an error that names what is allowed.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::{json, program, text, write_book};
use serde_json::Value;

/// The memory that a refusal may take, in KiB of address space.
const LITTLE: u32 = 1 << 20;

fn book(dir: &Path) -> PathBuf {
    let book = dir.join("book");
    write_book(&book, 1).unwrap();
    book
}

/// The errors of `check`, as `file: message`.
fn errors(book: &Path) -> Vec<String> {
    let (checked, code) = json(&["check", "--book", text(book), "--json"]).unwrap();
    assert_eq!(code, 2, "{checked}");
    let line = |error: &Value| format!("{}: {}", error["file"].as_str().unwrap(), error["message"].as_str().unwrap());
    checked["errors"].as_array().unwrap().iter().map(line).collect()
}

/// The program, with this much address space in KiB.
fn within(kib: u32, arguments: &[&str]) -> Output {
    let script = format!("ulimit -v {kib}; exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &script, text(&program().unwrap())])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn what_is_no_regular_file_is_an_error_at_once() {
    for name in ["nightbook.toml", "portfolios.csv", "equity.csv", "positions.csv", "prices.csv"] {
        let dir = tempfile::tempdir().unwrap();
        let book = book(dir.path());
        let file = book.join(name);
        let _ = fs::remove_file(&file);
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        let found = errors(&book);
        let wanted = |what: &str| format!("{name}: it is {what}, and a file of a book must be a regular file");
        assert!(found.contains(&wanted("a FIFO")), "{found:?}");
        let data = dir.path().join("data");
        let run =
            e2e::nightbook(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24"]).unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.code() == Some(2) && said.contains("it is a FIFO"), "{said}");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert!(errors(&book).contains(&wanted("a device")));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(errors(&book).contains(&wanted("a folder")));
    }
    let dir = tempfile::tempdir().unwrap();
    let book = book(dir.path());
    fs::remove_file(book.join("prices.csv")).unwrap();
    fs::create_dir_all(book.join("prices/new.csv")).unwrap();
    assert_eq!(errors(&book), ["prices/new.csv: it is a folder, and a file of a book must be a regular file"]);
}

#[test]
fn a_sparse_file_of_ten_gigabytes_is_refused_by_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(dir.path());
    for name in ["prices.csv", "positions.csv"] {
        File::options().write(true).open(book.join(name)).unwrap().set_len(10_000_000_000).unwrap();
    }
    let size = "it has 10,000,000,000 bytes, and a file of a book may have 2,147,483,648 at most";
    assert_eq!(errors(&book), [format!("positions.csv: {size}"), format!("prices.csv: {size}")]);
}

/// A million portfolios are refused before work begins, within 1 GiB of address space.
#[test]
fn a_book_that_is_too_large_for_the_memory_is_refused_before_work_begins() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(dir.path());
    let write = |name: &str, header: &str, row: &dyn Fn(u32) -> String| {
        let mut file = BufWriter::new(File::create(book.join(name)).unwrap());
        writeln!(file, "{header}").unwrap();
        (0..1_000_000).for_each(|p| writeln!(file, "{}", row(p)).unwrap());
        file.flush().unwrap();
    };
    write("portfolios.csv", "portfolio_id,name,equity", &|p| format!("p{p},P,1000000"));
    write("positions.csv", "portfolio_id,symbol,quantity,entry_price,entry_date", &|p| {
        format!("p{p},S{},1,50,2025-01-02", p % 5)
    });
    let wanted = "portfolios and more would take more than 2,048 MiB of memory";
    let checked = within(LITTLE, &["check", "--book", text(&book), "--json"]);
    let printed: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(2));
    let messages: Vec<&str> =
        printed["errors"].as_array().unwrap().iter().map(|error| error["message"].as_str().unwrap()).collect();
    assert!(messages.len() == 1 && messages[0].contains(wanted), "{messages:?}");
    let data = dir.path().join("data");
    let run = ["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24"];
    let ran = within(LITTLE, &run);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(2) && said.contains(wanted), "{said}");
    // Rows of positions count too.
    let small = "portfolio_id,name,equity\np0,P,1000000\n";
    fs::write(book.join("portfolios.csv"), small).unwrap();
    write("positions.csv", "portfolio_id,symbol,quantity,entry_price,entry_date", &|p| {
        format!("p0,S{},{},50,2025-01-02", p % 5, p + 1)
    });
    let settings = fs::read_to_string(book.join("nightbook.toml")).unwrap();
    fs::write(book.join("nightbook.toml"), settings.replace("[run]\n", "[run]\nmemory_limit_mib = 300\n")).unwrap();
    let found = errors(&book);
    assert!(found[0].contains("rows of positions and more would take more than 300 MiB"), "{found:?}");
}

#[test]
fn forty_thousand_symbols_without_prices_are_one_readable_error() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(dir.path());
    let rows: String = (0..40_000).map(|at| format!("p000,TYPO{at},1,50,2025-01-02\n")).collect();
    let header = "portfolio_id,symbol,quantity,entry_price,entry_date\n";
    fs::write(book.join("positions.csv"), format!("{header}{rows}")).unwrap();
    let (checked, _) = json(&["check", "--book", text(&book), "--json"]).unwrap();
    assert!(checked["warnings"].as_array().unwrap().len() <= 1_010);
    let data = dir.path().join("data");
    let run = e2e::nightbook(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24"]).unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("40000 of 40003 symbols have no close")).collect();
    assert!(run.status.code() == Some(2) && !errors.is_empty(), "{said}");
    assert!(errors[0].contains("(TYPO0, TYPO1, TYPO10 and more)") && said.len() < 4_000, "{said}");
}
