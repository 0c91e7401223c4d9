//! Books that are wrong in every way we could think of, and in ways a generator thinks of: reading never panics, and what it
//! says has a file, a line of that file, and a message.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

#[path = "hostile/changes.rs"]
mod changes;

use std::collections::BTreeMap;
use std::io::Write as _;

use book::{Issue, MemorySource, Reading, Scope, read};
use flate2::Compression;
use flate2::write::GzEncoder;

const PORTFOLIOS: &str = "\
portfolio_id,name,currency,equity,owner,tags,runbook_url
alpha,Alpha Fund,USD,1000000,Ann,core;us,https://wiki.example/alpha
beta,Beta \"\"Fund\"\",USD,2500000.50,,,
";
const POSITIONS: &str = "\
portfolio_id,symbol,quantity,entry_price,entry_date,exit_date,class,underlying,right,strike,expiry,multiplier,implied_vol,mark,sector
alpha,AAPL,100,150.25,2025-01-02,,,,,,,,,,Technology
alpha,AAPL,50,160,2025-02-03,2025-03-03,public,,,,,,,,Technology
alpha,NVDA261218C00800000,-5,12.5,2025-01-02,,,,,,,,0.4,13.1,
alpha,A16Z_VC_FUND,1,142500,2024-01-02,,private,,,,,,,150000,
beta,SPY CALL,10,7,2025-01-02,,option,SPY,call,460,2026-09-18,,,,
beta,CASH,1000,1,2025-01-02,,cash,,,,,,,,
";
const PRICES: &str = "\
date,symbol,close,volume
2025-01-02,AAPL,150.5,1
2025-01-03,AAPL,151.5,1
2025-01-02,SPY,460.25,1
2025-01-03,SPY,461.25,1
";
const SETTINGS: &str = "\
[site]
title = \"Night\"
[schedule]
cron = \"30 18 * * 1-5\"
timezone = \"America/New_York\"
[factors]
Market = \"SPY\"
[run]
retries = 2
[[scenarios]]
id = \"crash\"
shocks = { Market = -0.3 }
";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn close_on(book: &book::Book, symbol: &str, date: &str) -> Option<f64> {
    let date = date.parse().unwrap();
    let series = book.prices.series(symbol)?;
    series.iter().find(|point| point.date == date).map(|point| point.close)
}

fn good() -> MemorySource {
    let mut source = MemorySource::default();
    source.insert("portfolios.csv", PORTFOLIOS.replace("Beta \"\"Fund\"\"", "\"Beta \"\"Fund\"\"\""));
    source.insert("positions.csv", POSITIONS);
    source.insert("prices.csv", PRICES);
    source.insert("nightbook.toml", SETTINGS);
    source
}

/// Replaces a file, the first occurrence of a text in it.
fn with(file: &str, from: &str, to: &str) -> Reading {
    let mut source = good();
    let text = String::from_utf8(source.0[file].clone()).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    source.insert(file, text.replacen(from, to, 1));
    read(&source).unwrap()
}

fn with_file(file: &str, content: &[u8]) -> Reading {
    let mut source = good();
    source.insert(file, content);
    read(&source).unwrap()
}

#[track_caller]
fn one(reading: &Reading) -> &Issue {
    assert_eq!(reading.errors.len(), 1, "{:#?}", reading.errors);
    &reading.errors[0]
}

/// One error, of this place and scope, that stops the book exactly if it should.
#[track_caller]
fn expect(reading: &Reading, file: &str, line: u64, column: &str, message: &str) {
    let issue = one(reading);
    assert_eq!((issue.file.as_str(), issue.line, issue.column.as_str()), (file, line, column), "{issue}");
    assert!(issue.message.contains(message), "{issue}");
    assert_eq!(reading.book.is_none(), issue.scope == Scope::Book);
}

fn id(text: &str) -> domain::ids::PortfolioId {
    domain::ids::PortfolioId::new(text).unwrap()
}

#[test]
fn the_good_book_has_no_findings() {
    let reading = read(&good()).unwrap();
    assert_eq!(reading.errors, []);
    let warned: Vec<String> = reading.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warned, ["prices.csv:1: volume \"volume\": unknown column, left out"]);
    let book = reading.book.unwrap();
    assert_eq!(book.portfolios[0].positions.len(), 4);
    assert_eq!(book.portfolios[1].name, "Beta \"Fund\"");
    assert_eq!(book.portfolios[0].tags, ["core", "us"]);
    assert_eq!(book.portfolios[0].positions[2].multiplier, 100.0);
    assert_eq!(book.portfolios[0].positions[3].class, book::Class::Private);
    assert_eq!(book.prices.len(), 4);
    assert_eq!(book.prices.symbols().collect::<Vec<_>>(), ["AAPL", "SPY"]);
    assert_eq!(close_on(&book, "SPY", "2025-01-03"), Some(461.25));
    assert_eq!(book.portfolio(&id("beta")).unwrap().equity, Some(2_500_000.5));
}

#[test]
fn a_book_can_be_stored_and_loaded_with_its_issues() {
    let mut source = good();
    source.insert("positions.csv", POSITIONS.replace("150.25", "-1"));
    source.insert("prices.csv", PRICES.replace("151.5", "zero"));
    let book = read(&source).unwrap().book.unwrap();
    assert_eq!(book.portfolios[0].issues[0].scope, Scope::Portfolio(id("alpha")));
    assert_eq!(book.prices.issues("AAPL")[0].scope, Scope::Symbol("AAPL".to_owned()));
    let text = toml::to_string(&book).unwrap();
    assert_eq!(toml::from_str::<book::Book>(&text).unwrap(), book);
}

#[test]
fn compressed_and_split_files_give_the_same_book() {
    let plain = read(&good()).unwrap().book.unwrap();
    let mut source = MemorySource::default();
    for (name, content) in good().0 {
        match name.as_str() {
            "prices.csv" => {
                let (head, rest) = PRICES.split_at(PRICES.find('\n').unwrap() + 1);
                let (first, second) = rest.split_at(rest.match_indices('\n').nth(1).unwrap().0 + 1);
                source.insert("prices/b.csv", format!("{head}{first}"));
                // Two gzip members one after another, as `cat a.gz b.gz` makes them.
                source.insert("prices/a.csv.gz", [gzip(head.as_bytes()), gzip(second.as_bytes())].concat());
            }
            "nightbook.toml" => source.insert(name, content),
            _ => source.insert(format!("{name}.gz"), gzip(&content)),
        }
    }
    let reading = read(&source).unwrap();
    assert_eq!(reading.errors, []);
    let packed = reading.book.unwrap();
    assert_ne!(packed.content_hash, plain.content_hash);
    assert_eq!((packed.portfolios, packed.prices), (plain.portfolios, plain.prices));
}

#[test]
fn the_hash_is_of_the_content_and_of_nothing_else() {
    let hash = |source: &MemorySource| read(source).unwrap().book.unwrap().content_hash;
    let mut other = good();
    other.insert("README.txt", "not a part of it");
    assert_eq!(hash(&good()), hash(&other));
    other.insert("prices.csv", PRICES.replace("151.5", "151.6"));
    assert_ne!(hash(&good()), hash(&other));
}

#[test]
fn files_as_a_whole() {
    let without = |file: &str| {
        let mut source = good();
        source.0.remove(file);
        read(&source).unwrap()
    };
    expect(&without("portfolios.csv"), "portfolios.csv", 0, "", "the file is missing");
    expect(&without("positions.csv"), "positions.csv", 0, "", "the file is missing");
    expect(&without("prices.csv"), "prices.csv", 0, "", "neither prices.csv nor");
    assert!(without("nightbook.toml").book.is_some());

    let nothing = read(&MemorySource::new(BTreeMap::new())).unwrap();
    assert_eq!(nothing.errors.len(), 3);

    let mut source = good();
    source.insert("positions.csv.gz", gzip(POSITIONS.as_bytes()));
    expect(&read(&source).unwrap(), "positions.csv.gz", 0, "", "both positions.csv and positions.csv.gz");

    let mut source = good();
    source.insert("prices/more.csv", "date,symbol,close\n");
    expect(&read(&source).unwrap(), "prices.csv", 0, "", "both prices.csv and files in prices/");

    let mut source = good();
    source.insert("Positons.csv", "x");
    assert!(read(&source).unwrap().warnings.iter().any(|w| w.message.contains("did you mean `positions.csv`")));

    for file in ["portfolios.csv", "positions.csv", "prices.csv"] {
        assert!(one(&with_file(file, b"")).message.contains("the file is empty"));
        assert!(one(&with_file(file, b"\xff\xfep\0o\0")).message.contains("UTF-16"));
        let gz = format!("{file}.gz");
        let mut source = good();
        let whole = gzip(&source.0.remove(file).unwrap());
        source.insert(gz.clone(), &whole[..whole.len() - 9]);
        let reading = read(&source).unwrap();
        assert!(reading.book.is_none(), "{file}");
        let last = reading.errors.iter().find(|e| e.message.contains("breaks off")).expect("it breaks off");
        assert_eq!(last.file, gz);
        source.insert(gz, "portfolio_id");
        assert!(read(&source).unwrap().errors.iter().any(|e| e.message.contains("not intact gzip data")));
    }
}

#[test]
fn a_compressed_file_that_expands_without_end_is_stopped() {
    let mut content = b"date,symbol,close\n".to_vec();
    content.resize(80 << 20, b'\n');
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&content).unwrap();
    let mut source = good();
    source.0.remove("prices.csv");
    source.insert("prices.csv.gz", encoder.finish().unwrap());
    let reading = read(&source).unwrap();
    assert!(
        reading.errors.iter().any(|e| e.message.contains("expands more than 100-fold")),
        "{:?}",
        reading.errors.last()
    );
    assert!(reading.errors.len() <= 1_001);
}

#[test]
fn rows_of_portfolios() {
    let file = "portfolios.csv";
    let reading = with(file, "alpha,", "../../x,");
    assert!(
        reading.errors[0].to_string().starts_with("portfolios.csv:2: portfolio_id \"../../x\": not a portfolio id")
    );
    assert_eq!(reading.errors.iter().filter(|e| e.message.contains("no such portfolio")).count(), 4);
    let reading = with(file, "beta,", "alpha,");
    assert!(reading.errors[0].message.contains("line 2 has this one already"), "{:?}", reading.errors);
    for number in ["NaN", "inf", "1e400", "12x", "1 000"] {
        expect(&with(file, "1000000", number), file, 2, "equity", "allowed is blank or the net asset value");
    }
    for number in ["", "0", "-5"] {
        let reading = with(file, "1000000", number);
        assert!(reading.book.is_some());
        assert!(reading.warnings[0].message.contains("factor_analysis and portfolio_snapshot will fail"));
    }
    expect(&with(file, "USD", "usd"), file, 2, "currency", "three capital letters");
    expect(&with(file, "https://wiki.example/alpha", "javascript:alert(1)"), file, 2, "runbook_url", "https://");
    let closing = |day: &str| {
        let header = "portfolio_id,name,equity,closed_on\n";
        let mut source = good();
        source.insert(file, format!("{header}alpha,A,1,{day}\nbeta,B,1,\n"));
        read(&source).unwrap()
    };
    for day in ["2026-02-30", "24.11.2026", "never"] {
        expect(&closing(day), file, 2, "closed_on", "allowed is a date that exists");
    }
    let book = closing("2025-03-31").book.unwrap();
    let closed = |day: &str| book.portfolios[0].is_closed(day.parse().unwrap());
    assert!(
        !closed("2025-03-30") && closed("2025-03-31") && !book.portfolios[1].is_closed("2025-03-31".parse().unwrap())
    );
    assert!(!book.portfolios[0].positions.is_empty(), "its rows are no orphans");
    expect(&with(file, ",core;us,", ",core,us,"), file, 2, "", "8 fields and the header 7");
    expect(
        &with(file, "portfolio_id,", "portfolio-id,"),
        file,
        1,
        "portfolio_id",
        "has `portfolio-id`: write it exactly",
    );
    let reading = with(file, "USD", "EUR");
    assert!(reading.warnings[0].message.contains("most portfolios are in EUR"), "{:?}", reading.warnings);
    let reading = with(file, "beta,", "ALPHA,");
    assert!(reading.warnings.iter().any(|w| w.message.contains("capitals only")));
}

#[test]
fn rows_of_positions() {
    let file = "positions.csv";
    let expect_row = |from: &str, to: &str, line: u64, column: &str, message: &str| {
        let reading = with(file, from, to);
        expect(&reading, file, line, column, message);
        let owner = if line < 6 { "alpha" } else { "beta" };
        assert_eq!(one(&reading).scope, Scope::Portfolio(id(owner)));
        let book = reading.book.as_ref().unwrap();
        assert_eq!(book.portfolio(&id(owner)).unwrap().issues, reading.errors);
    };
    for number in ["", "0", "NaN", "-inf", "1e400", "1,5"] {
        if number != "1,5" {
            expect_row("AAPL,100,", &format!("AAPL,{number},"), 2, "quantity", "other than 0");
        }
    }
    expect_row("AAPL,100,", "AAPL,\"1,5\",", 2, "quantity", "no commas in numbers");
    expect_row("150.25", "-1", 2, "entry_price", "0 or more");
    expect_row("150.25", "", 2, "entry_price", "missing");
    expect_row("2025-01-02", "2025-02-30", 2, "entry_date", "there is no such day");
    expect_row("2025-01-02", "", 2, "entry_date", "missing");
    expect_row("2025-03-03", "2025-02-02", 3, "exit_date", "before the entry on 2025-02-03");
    expect_row("public", "Public", 3, "class", "did you mean `public`?");
    expect_row("2025-01-02,,,,,,,,0.4", "2025-01-02,,,,,,,0,0.4", 4, "multiplier", "above 0");
    expect_row("0.4", "0", 4, "implied_vol", "above 0 as a fraction");
    expect_row("13.1", "-13.1", 4, "mark", "0 or more");
    expect_row("AAPL,100", ",100", 2, "symbol", "1 to 64 printable characters");
    expect_row("AAPL,100", &format!("{},100", "S".repeat(65)), 2, "symbol", "1 to 64 printable characters");
    expect_row("alpha,AAPL,100", "alpha,AAPL,100,7", 2, "", "16 fields and the header 15");
    expect_row("SPY,call", "SPY,buy", 6, "right", "call or put");
    expect_row("SPY,call", ",call", 6, "underlying", "an option needs underlying, right, strike and expiry");
    expect_row("call,460", "call,0", 6, "strike", "above 0");
    let option = "alpha,NVDA261218C00800000,-5,12.5,2025-01-02,,,,,,";
    for (terms, column, says) in [
        ("AAPL,,,", "underlying", "which says NVDA"),
        (",put,,", "right", "which says call"),
        (",,801,", "strike", "which says 800"),
        (",,,2026-12-19", "expiry", "which says 2026-12-18"),
    ] {
        let to = format!("alpha,NVDA261218C00800000,-5,12.5,2025-01-02,,,{terms}");
        expect_row(option, &to, 4, column, says);
    }
    assert_eq!(
        with(file, option, "alpha,NVDA261218C00800000,-5,12.5,2025-01-02,,,NVDA,call,800.0,2026-12-18").errors,
        []
    );

    // A byte-identical line is an error; a lot that differs in anything is a lot.
    let line = POSITIONS.lines().nth(1).unwrap();
    expect_row(
        "alpha,AAPL,50,160,2025-02-03,2025-03-03,public,,,,,,,,Technology",
        line,
        3,
        "",
        "the same line as line 2",
    );

    let reading = with(file, "beta,CASH", "gamma,CASH");
    expect(&reading, file, 7, "portfolio_id", "portfolios.csv has no such portfolio");
    assert_eq!(one(&reading).scope, Scope::Orphan);
    expect(&with(file, "beta,CASH", "../../x,CASH"), file, 7, "portfolio_id", "not a portfolio id");

    // All errors of a row at once.
    let reading = with(file, "alpha,AAPL,100,150.25,2025-01-02", "alpha,,0,x,2025-13-01");
    let columns: Vec<&str> = reading.errors.iter().map(|e| e.column.as_str()).collect();
    assert_eq!(columns, ["symbol", "quantity", "entry_price", "entry_date"]);

    // Nothing about portfolios is known: their positions are not all unknown on top of it.
    assert_eq!(with("portfolios.csv", "equity", "capital").errors.len(), 1);
    assert_eq!(with("portfolios.csv", "1000000", "x").errors.len(), 1);
}

#[test]
fn rows_of_prices() {
    let file = "prices.csv";
    for close in ["0", "-1", "NaN", "inf", "1e400", "", "abc", "1e-300"] {
        let reading = with(file, "151.5", close);
        expect(&reading, file, 3, "close", "a price above 0");
        assert_eq!(one(&reading).scope, Scope::Symbol("AAPL".to_owned()));
        let book = reading.book.as_ref().unwrap();
        assert_eq!(book.prices.issues("AAPL"), reading.errors);
        assert_eq!(book.prices.series("AAPL").unwrap().len(), 1);
        assert_eq!(book.prices.issues("SPY"), []);
    }
    expect(&with(file, "2025-01-03,AAPL", "2025-02-30,AAPL"), file, 3, "date", "there is no such day");
    let reading = with(file, "2025-01-03,AAPL", "2025-01-03,");
    expect(&reading, file, 3, "symbol", "not a symbol");
    assert_eq!(one(&reading).scope, Scope::Orphan);
    let reading = with(file, "2025-01-03,AAPL,151.5", "2025-01-02,AAPL,151.5");
    expect(&reading, file, 3, "date", "line 2 of prices.csv has them already");
    assert_eq!(close_on(&reading.book.unwrap(), "AAPL", "2025-01-02"), Some(150.5));
    expect(&with(file, "151.5,1", "151.5"), file, 3, "", "3 fields and the header 4");
    let reading = with(file, "2025-01-03,AAPL", "2025-01-09,AAPL");
    assert_eq!(reading.errors, []);
    assert!(reading.warnings[1].message.contains("day of mourning for Jimmy Carter"), "{:?}", reading.warnings);
    let many: String = (1..=28).map(|day| format!("2026-02-{day:02},BTC,1\n")).collect();
    let reading = with_file(file, format!("{PRICES}{}", many.replace(",1\n", ",1,1\n")).as_bytes());
    assert_eq!(reading.errors, []);
    let closed: Vec<&Issue> = reading.warnings.iter().filter(|w| w.column == "date").collect();
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!((closed[0].line, closed[0].text.as_str()), (6, "2026-02-01"));
    assert!(closed[0].message.starts_with("9 rows are left out: on 9 days without a session"), "{}", closed[0]);

    let mut source = good();
    source.0.remove(file);
    source.insert("prices/a.csv", "date,symbol,close\n2025-01-02,SPY,1\n");
    source.insert("prices/b.csv", "date,symbol,close\n2025-01-02,SPY,2\n");
    expect(&read(&source).unwrap(), "prices/b.csv", 2, "date", "line 2 of prices/a.csv has them already");
}

#[test]
fn a_wrong_file_of_many_rows_is_reported_in_brief_and_in_full_number() {
    let rows: String = (0..5_000).map(|n| format!("alpha,S{n},0,1,2025-01-02\n")).collect();
    let content = format!("portfolio_id,symbol,quantity,entry_price,entry_date\n{rows}");
    let reading = with_file("positions.csv", content.as_bytes());
    assert_eq!(reading.errors.len(), 1_001);
    assert_eq!(reading.errors[1_000].message, "and 4000 more, the last on line 5001");
    let issues = &reading.book.unwrap().portfolios[0].issues;
    assert_eq!((issues.len(), issues[20].message.as_str()), (21, "and 4980 more, the last on line 5001"));
}

#[test]
fn control_characters_are_shown_escaped_and_texts_are_cut() {
    let reading = with("prices.csv", "151.5", &format!("\u{1b}[31m\u{202e}{}", "é".repeat(300)));
    let text = &one(&reading).text;
    assert!(text.starts_with("\\u{1b}[31m\\u{202e}éé"), "{text}");
    assert!(text.ends_with('…') && text.chars().count() < 110, "{text}");
}

#[test]
fn a_folder_is_read_and_a_missing_one_explained() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in good().0 {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    std::fs::write(dir.path().join(".hidden.csv"), "x").unwrap();
    let from_folder = book::read_folder(dir.path()).unwrap();
    assert_eq!(from_folder, read(&good()).unwrap());
    let missing = book::read_folder(&dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("there is no folder") && missing.contains("nightbook init"), "{missing}");
    let file = book::read_folder(&dir.path().join("prices.csv")).unwrap_err().to_string();
    assert!(file.contains("is not a folder"), "{file}");

    std::fs::rename(dir.path().join("prices.csv"), dir.path().join("p")).unwrap();
    std::fs::create_dir(dir.path().join("prices")).unwrap();
    std::fs::rename(dir.path().join("p"), dir.path().join("prices/2025.csv")).unwrap();
    assert_eq!(book::read_folder(dir.path()).unwrap().book.unwrap().prices.len(), 4);
}

#[test]
fn check_of_a_book_with_one_of_each() {
    let mut source = MemorySource::default();
    source.insert(
        "nightbook.toml",
        "[site]\ntitel = \"Night\"\ndetail = \"some\"\n[schedule]\ncron = \"30 18 * *\"\ntimezone = \"New York\"\n\
         [run]\njobs = [\"factor_analysis\"]\nretries = 0\n[[scenarios]]\nid = \"s\"\nshocks = { Oil = -0.5 }\n",
    );
    source.insert(
        "portfolios.csv",
        "portfolio_id,name,equity,desk\nalpha,Alpha,1000,x\nalpha,Again,1000,x\n../../x,Path,1000,x\nbeta,Beta,NaN,x\n\
         gamma,Gamma,,x\ndelta,\"Delta,1000,x\nepsilon,Eps,1,x,y\n",
    );
    source.insert(
        "positions.csv",
        "portfolio_id,symbol,quantity,entry_price,entry_date,exit_date,class,underlying,right,strike,expiry\n\
         alpha,AAPL,0,-1,2025-02-30,,,,,,\nalpha,AAPL,10,1,2025-01-02,2024-01-02,,,,,\n\
         alpha,NVDA261218C00800000,1,1,2025-01-02,,,,put,,\nalpha,X,1,1,2025-01-02,,option,,,,\n\
         nobody,AAPL,1,1,2025-01-02,,,,,,\ngamma,AAPL,1,1,2025-01-02,,,,,,\ngamma,AAPL,1,1,2025-01-02,,,,,,\n\
         gamma,MSFT,1,1,2025-01-02,,stock,,,,\n",
    );
    source.insert(
        "prices.csv",
        b"date,symbol,close\n2025-01-02,AAPL,1\n2025-01-02,AAPL,2\n2025-01-01,AAPL,1\n2025-02-30,AAPL,1\n2025-01-03,AAPL,1e400\n\
          2025-01-03,,1\n2025-01-03,AAPL\n2025-01-03,\xff,1\n2025-01-03,\0,1\n"
            .to_vec(),
    );
    source.insert("prices.csv.gz", "x");
    source.insert("position.csv", "x");
    let reading = read(&source).unwrap();
    // Said in full, so that finding the snapshot does not depend on cargo understanding the whole workspace.
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"));
    settings.bind(|| insta::assert_json_snapshot!("check", reading));
}

#[test]
fn a_mute_of_a_portfolio_that_the_book_does_not_have_is_warned_about() {
    let muted = |id: &str| {
        let mut source = good();
        let settings =
            format!("[[alerts.mute]]\nportfolio = \"{id}\"\nuntil = 2026-12-24\nreason = \"under review\"\n");
        source.insert("nightbook.toml", settings);
        let reading = read(&source).unwrap();
        assert!(reading.book.is_some(), "{:?}", reading.errors);
        reading.warnings.iter().any(|warning| warning.to_string().contains("portfolios.csv has no such portfolio"))
    };
    assert!(muted("alhpa"));
    assert!(!muted("alpha"));
}
