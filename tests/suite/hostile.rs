//! Names that attack: on every surface they are shown as they are, and obeyed by none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use domain::redact::misleads;
use e2e::{program, text, write_book};
use serde_json::Value;

use crate::surfaces::{assert_printable, elements_of_xml, files, page_of};

/// What a name may be, however it looks: markup, traversal, formulas, text that runs backwards or takes no room.
fn accepted() -> Vec<String> {
    [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</title></style></textarea><script>alert(1)</script>",
        "]]><script>alert(1)</script>",
        "--><script>alert(1)</script><!--",
        "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY y SYSTEM \"file:///etc/passwd\">]>&y;",
        "&lt;b&gt;&#60;i&#62;&quot;",
        "{{ 7 * 7 }}{% include \"/etc/passwd\" %}${jndi:ldap://x}",
        "../../../../etc/passwd",
        "..\\..\\windows\\system32",
        "%2e%2e/%2e%2e/etc/passwd%00",
        "javascript:alert(1)",
        "data:text/html;base64,PHNjcmlwdD4=",
        "=HYPERLINK(\"http://x\",\"y\")",
        "+1+cmd|' /C calc'!A0",
        "-1+cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\u{ff1d}1+1",
        "a\u{202e}drowssap\u{202c}",
        "\u{2066}\u{2067}isolated\u{2069}\u{2069}",
        "zero\u{200b}\u{200d}\u{2060}\u{feff}width",
        "line\u{2028}and\u{2029}paragraph",
        "\u{301}\u{301}\u{489}lone combining marks \u{301}",
        "noncharacters \u{fffe}\u{ffff}\u{fdd0}\u{10ffff}",
        "tags \u{e0001}\u{e0041}\u{e007f}",
        "`$(touch pwned)`; touch pwned",
        "{\"batch_run_id\": null}",
        "\u{1f1e9}\u{1f1ea} \u{645}\u{631}\u{62d}\u{628}\u{627} \u{5e9}\u{5dc}\u{5d5}\u{5dd} ﷽",
        "' OR 1=1; DROP TABLE runs; --",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["<b>".repeat(66), "\u{202e}".repeat(200), "W".repeat(200), "\u{1f469}\u{200d}".repeat(100)])
    .collect()
}

/// What no name may be: characters that a terminal, a log or a file system obeys, and texts without end.
fn refused() -> Vec<String> {
    [
        "\u{1b}[31mred",
        "\u{1b}]8;;http://x\u{7}y",
        "\u{1b}]52;c;eA==\u{7}",
        "a\u{9b}2Jb",
        "bell\u{7}",
        "del\u{7f}",
        "c1\u{85}\u{90}",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["line\nfeed", "carriage\rreturn", "in\tside"].map(str::to_owned))
    .chain(["x".repeat(65_000), "é".repeat(201)])
    .collect()
}

/// Portfolio ids that are allowed and look like something else.
const IDS: [&str; 6] = ["-A1", "-1", "index.html", "status.json", "con", "__proto__"];

const DATE: &str = "2026-11-24";

fn csv(rows: &[Vec<String>]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).unwrap();
    }
    writer.into_inner().unwrap()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// A text that may stand for a symbol.
fn symbol(text: &str) -> String {
    text.chars().filter(|c| !misleads(*c)).take(64).collect::<String>().trim().to_owned()
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect::<String>().trim().to_owned()
}

fn toml_text(text: &str) -> String {
    // JSON texts are TOML texts, but for the escape of DEL, which no accepted name has.
    Value::from(text).to_string()
}

/// A book in which everything that somebody may choose is one of these names.
fn write_named(folder: &Path, names: &[String], title: &str) {
    write_book(folder, 1).unwrap();
    let mut portfolios = vec![row(&["portfolio_id", "name", "equity", "owner", "tags"])];
    let mut positions =
        vec![row(&["portfolio_id", "symbol", "quantity", "entry_price", "entry_date", "class", "sector", "mark"])];
    let mut settings = format!("[site]\ntitle = {}\n[run]\nbackoff_seconds = 0.01\n", toml_text(title));
    let (mut factors, mut scenarios) = (String::from("[factors]\nMarket = \"SPY\"\n"), String::new());
    let ids = (0..names.len()).map(|at| IDS.get(at).map_or_else(|| format!("p{at:03}"), |id| (*id).to_owned()));
    for (at, (id, name)) in ids.zip(names).enumerate() {
        portfolios.push(row(&[&id, name, "1000000", name, name]));
        let (held, sector) = (symbol(name), cut(name, 100));
        positions.push(row(&[&id, "S0", "100", "50", "2025-01-02", "", "", ""]));
        positions.push(row(&[
            &id,
            &format!("{held}{at}").chars().take(64).collect::<String>(),
            "1",
            "1",
            "2025-01-02",
            "public",
            &sector,
            "",
        ]));
        positions.push(row(&[&id, &held, "1", "1", "2025-01-02", "private", &sector, "10"]));
        if at % 3 == 0 {
            // A row that fails the portfolio, with the name in the message.
            positions.push(row(&[&id, &held, name, "1", "2025-01-02", "", "", ""]));
        }
        if at < 50 {
            factors.push_str(&format!("{} = \"S{}\"\n", toml_text(&cut(&format!("{at}{name}"), 64)), at % 5));
        }
        scenarios.push_str(&format!(
            "[[scenarios]]\nid = \"s{at}\"\nname = {0}\ncategory = {0}\nshocks = {{ Market = -0.1 }}\n",
            toml_text(&cut(name, 100))
        ));
    }
    settings.push_str(&factors);
    settings.push_str(&scenarios);
    std::fs::write(folder.join("portfolios.csv"), csv(&portfolios)).unwrap();
    std::fs::write(folder.join("positions.csv"), csv(&positions)).unwrap();
    std::fs::write(folder.join("nightbook.toml"), settings).unwrap();
}

/// Runs the program with its colours on, so that what it writes of its own can be told from what comes from outside.
fn coloured(arguments: &[&str]) -> Output {
    Command::new(program().unwrap()).args(arguments).env("CLICOLOR_FORCE", "1").stdin(Stdio::null()).output().unwrap()
}

#[test]
fn names_are_shown_everywhere_and_obeyed_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let names = accepted();
    let title = cut("<script>alert(1)</script>\"'&]]>--></style>\u{202e}=1+1", 100);
    let trigger = "<b>\"'=1+1\u{202e}";
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_named(&book, &names, &title);
    // The same book with names that are only names: what it has of elements is what ours may have.
    let plain: Vec<String> = (0..names.len()).map(|at| format!("Plain {at}")).collect();
    let (plain_book, plain_data) = (dir.path().join("plain-book"), dir.path().join("plain-data"));
    write_named(&plain_book, &plain, "Plain");
    let before = files(dir.path());

    let run = |book: &Path, data: &Path, trigger: &str| {
        let output = coloured(&[
            "run",
            "--book",
            text(book),
            "--data",
            text(data),
            "--as-of",
            DATE,
            "--trigger",
            trigger,
            "--json",
        ]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let output = run(&book, &data, trigger);
    run(&plain_book, &plain_data, "plain");
    assert_printable("the summary", &output.stdout);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["trigger"], trigger);
    let run_id = summary["batch_run_id"].as_str().unwrap();
    logs_are_lines_of_json(&output.stderr, 10);

    let new: Vec<PathBuf> = files(dir.path()).into_iter().filter(|path| !before.contains(path)).collect();
    for path in &new {
        let inside = path.strip_prefix(dir.path()).unwrap().to_str().unwrap();
        assert!(inside.starts_with("data/") || inside.starts_with("plain-data/"), "{inside}");
        assert!(inside.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)), "{inside}");
    }
    the_site_is_ours(&data.join("site"), &plain_data.join("site"), &names);
    exports_are_no_formulas(text(&data), run_id, &names);

    let (data, book) = (text(&data), text(&book));
    for arguments in [
        &["check", "--book", book][..],
        &["history", "--data", data],
        &["show", run_id, "--data", data],
        &["show", run_id, "--portfolio=-A1", "--data", data],
        &["show", run_id, "--job", "market_data_update", "--data", data],
        &["failures", "--data", data],
        &["last", "factor_analysis", "--data", data],
        &["doctor", "--data", data],
    ] {
        let lines = coloured(arguments);
        assert_printable(&format!("{arguments:?}"), &lines.stdout);
        assert_printable(&format!("{arguments:?}"), &lines.stderr);
        let json = coloured(&[arguments, &["--json"]].concat());
        assert_printable(&format!("{arguments:?} --json"), &json.stdout);
        serde_json::from_slice::<Value>(&json.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    }
}

fn logs_are_lines_of_json(stderr: &[u8], least: usize) {
    let logs = std::str::from_utf8(stderr).unwrap();
    assert!(logs.lines().count() >= least, "{logs}");
    for line in logs.lines() {
        assert_eq!(line.chars().find(|c| misleads(*c)), None, "{line}");
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["timestamp"].is_string() && value["level"].is_string() && value["message"].is_string(), "{line}");
    }
}

/// No page has an element, an attribute or a script that the site of the plain book has not, nor a link that runs.
fn the_site_is_ours(site: &Path, plain_site: &Path, names: &[String]) {
    let pages_of = |site: &Path| -> Vec<PathBuf> {
        files(site).into_iter().filter(|path| path.extension().is_some_and(|end| end == "html")).collect()
    };
    let (mut tags, mut scripts) = (BTreeSet::new(), BTreeSet::new());
    for path in pages_of(plain_site) {
        let page = page_of(&path);
        tags.extend(page.tags);
        scripts.extend(page.scripts);
    }
    assert_eq!(scripts.len(), 1, "one script, the same on every page");
    let pages = pages_of(site);
    assert!(pages.len() > names.len());
    for path in &pages {
        let page = page_of(path);
        let name = path.display();
        assert_eq!(page.tags.difference(&tags).collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
        assert_eq!(page.scripts.iter().filter(|script| !scripts.contains(*script)).count(), 0, "{name}");
        assert_eq!(page.scripts.len(), 1, "{name}");
        for link in &page.links {
            let icon = link.starts_with("data:image/svg+xml,%3Csvg ");
            assert!(icon || !link.contains(':'), "{name} leads to {link}");
        }
        assert!(!page.text.chars().any(|c| c != '\n' && misleads(c)), "{name}");
        let size = std::fs::metadata(path).unwrap().len();
        assert!(size < 400_000, "{name} has {size} bytes");
    }
    for (at, name) in names.iter().enumerate().skip(IDS.len()) {
        let page = page_of(&site.join(format!("portfolios/p{at:03}/index.html")));
        let seen: String = name.chars().filter(|c| !misleads(*c)).take(20).collect();
        let hidden = name.chars().any(misleads);
        assert!(hidden || page.text.contains(&seen), "portfolio {at} does not show {seen:?}");
        assert!(!hidden || page.text.contains("[U+"), "portfolio {at} hides what {name:?} has");
    }
    for path in files(site) {
        match path.extension().and_then(|end| end.to_str()) {
            Some("json") => {
                let bytes = std::fs::read(&path).unwrap();
                assert_printable(&path.display().to_string(), &bytes);
                serde_json::from_slice::<Value>(&bytes).unwrap();
            }
            Some("xml") => assert!(elements_of_xml(&path).is_subset(&elements_of_xml(&plain_site.join("feed.xml")))),
            Some("svg") => assert_eq!(elements_of_xml(&path), elements_of_xml(&plain_site.join("badge.svg"))),
            // What can be pasted into a shell: ids and options, nothing else.
            Some("txt") => {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(
                    text.chars().all(|c| c.is_ascii_alphanumeric() || " -_.\n".contains(c)),
                    "{}: {text}",
                    path.display()
                );
            }
            Some("html") => {}
            None if path.file_name().is_some_and(|name| name == ".files") => {
                assert_printable(".files", &std::fs::read(&path).unwrap());
            }
            other => panic!("{} is none of ours: {other:?}", path.display()),
        }
    }
}

fn exports_are_no_formulas(data: &str, run: &str, names: &[String]) {
    let export = |format| {
        let output = coloured(&["export", run, "--data", data, "--format", format]);
        assert_eq!(output.status.code(), Some(0));
        assert_printable(format, &output.stdout);
        output.stdout
    };
    let lines = export("jsonl");
    let told: BTreeSet<String> = lines
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice::<Value>(line).unwrap()["portfolio_name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        told,
        names.iter().map(|name| name.trim().to_owned()).collect(),
        "JSON lines have the names as they are"
    );

    let mut cells = 0;
    let table = export("csv");
    for record in csv::Reader::from_reader(table.as_slice()).records() {
        for cell in &record.unwrap() {
            let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}']);
            assert!(!formula || cell.parse::<f64>().is_ok_and(f64::is_finite), "{cell:?} is a formula");
            cells += 1;
        }
    }
    assert_eq!(cells, names.len() * 9 * 17);
}

#[test]
fn names_that_a_terminal_would_obey_are_refused_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("book");
    for (at, bad) in refused().iter().enumerate() {
        let folder = book.join(at.to_string());
        write_book(&folder, 1).unwrap();
        let head = row(&["portfolio_id", "name", "equity", "owner", "tags", "runbook_url"]);
        let good = row(&["p000", "Plain", "1000000", "", "", ""]);
        let mut rows = vec![head, good];
        for column in [0, 1, 3, 4, 5] {
            let mut cells = row(&["q", "Plain", "1", "", "", ""]);
            cells[0] = format!("q{column}");
            cells[column] = if column == 5 { format!("https://x/{bad}") } else { bad.clone() };
            rows.push(cells);
        }
        std::fs::write(folder.join("portfolios.csv"), csv(&rows)).unwrap();
        let head = row(&["portfolio_id", "symbol", "quantity", "entry_price", "entry_date", "sector", "underlying"]);
        let positions = [
            head,
            row(&["p000", bad, "1", "1", "2025-01-02", "", ""]),
            row(&["p000", "S0", "1", "1", "2025-01-02", bad, ""]),
        ];
        std::fs::write(folder.join("positions.csv"), csv(&positions)).unwrap();
        let value = Value::from(bad.as_str()).to_string().replace('\u{7f}', "\\u007f");
        let settings = format!(
            "[site]\ntitle = {value}\nbase_url = {value}\n[schedule]\nname = {value}\n[factors]\nMarket = \"SPY\"\n{value} = \"S1\"\nOther = {value}\n\
             [[scenarios]]\nid = {value}\nname = {value}\nshocks = {{ Market = -0.1 }}\n"
        );
        std::fs::write(folder.join("nightbook.toml"), settings).unwrap();

        let output = coloured(&["check", "--book", text(&folder), "--json"]);
        assert_eq!(output.status.code(), Some(2));
        assert_printable("check --json", &output.stdout);
        assert!(output.stdout.len() < 40_000, "{} bytes", output.stdout.len());
        let check: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found: BTreeSet<(&str, u64, &str)> = check["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| {
                (error["file"].as_str().unwrap(), error["line"].as_u64().unwrap(), error["column"].as_str().unwrap())
            })
            .collect();
        let what = format!("{:?}: {check:#}", cut(bad, 30));
        let lines: BTreeSet<u64> =
            found.iter().filter(|error| error.0 == "portfolios.csv").map(|error| error.1).collect();
        let wrong = ["portfolio_id", "name", "owner", "tags", "runbook_url"];
        let columns: BTreeSet<&str> =
            found.iter().filter(|error| error.0 == "portfolios.csv").map(|error| error.2).collect();
        // A text of 201 characters is short enough for tags and addresses.
        let expected = if bad.starts_with('é') { &wrong[..3] } else { &wrong[..] };
        assert!(expected.iter().all(|column| columns.contains(column)), "{what}");
        assert!(lines.len() >= expected.len(), "{what}");
        for (file, column) in [
            ("positions.csv", "symbol"),
            ("positions.csv", "sector"),
            ("nightbook.toml", "site.title"),
            ("nightbook.toml", "schedule.name"),
        ] {
            assert!(found.iter().any(|error| (error.0, error.2) == (file, column)), "{file} {column} {what}");
        }
        let lines = coloured(&["check", "--book", text(&folder)]);
        assert_printable("check", &lines.stdout);
        let run =
            coloured(&["run", "--book", text(&folder), "--data", text(&dir.path().join("data")), "--as-of", DATE]);
        assert_eq!(run.status.code(), Some(2));
        assert_printable("run", &run.stderr);
        let trigger =
            coloured(&["run", "--book", text(&folder), "--data", text(&dir.path().join("data")), "--trigger", bad]);
        assert_eq!(trigger.status.code(), Some(2));
    }
    assert!(!dir.path().join("data").exists(), "nothing was started");
}

#[test]
fn addresses_that_run_or_hold_a_password_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("book");
    for address in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example",
        "https:///x",
        "http://",
        "https://user:password@wiki.example/",
        "https://user@wiki.example",
        "https://x/\"onclick=\"",
        "https://x/<script>",
        " javascript:alert(1)",
        "https://x\\@y",
    ] {
        write_book(&book, 1).unwrap();
        let list = csv(&[row(&["portfolio_id", "name", "equity", "runbook_url"]), row(&["p000", "P", "1", address])]);
        std::fs::write(book.join("portfolios.csv"), list).unwrap();
        std::fs::write(book.join("nightbook.toml"), format!("[site]\nbase_url = {}\n", toml_text(address))).unwrap();
        let (check, code) = e2e::json(&["check", "--book", text(&book), "--json"]).unwrap();
        let columns: BTreeSet<&str> =
            check["errors"].as_array().unwrap().iter().map(|error| error["column"].as_str().unwrap()).collect();
        assert_eq!((columns, code), (BTreeSet::from(["runbook_url", "site.base_url"]), 2), "{address}");
    }
}

#[test]
fn names_of_files_are_shown_and_not_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 2).unwrap();
    std::fs::create_dir(book.join("prices")).unwrap();
    let prices = std::fs::read_to_string(book.join("prices.csv")).unwrap();
    std::fs::remove_file(book.join("prices.csv")).unwrap();
    let bad = "2026-11-24,S1,zero\n";
    for (at, name) in
        ["\u{1b}]8;;x\u{7}<img src=x>.csv", "b\n2026 ERROR forged\u{202e}.csv", "c';DROP.csv", "=cmd().csv"]
            .iter()
            .enumerate()
    {
        let content =
            if at == 0 { format!("{prices}{bad}") } else { format!("date,symbol,close\n{}", bad.replace("24", "23")) };
        std::fs::write(book.join("prices").join(name), content).unwrap();
    }
    std::fs::write(book.join("positions\u{1b}[2J.csv"), "x").unwrap();
    let output = coloured(&["run", "--book", text(&book), "--data", text(&data), "--as-of", DATE, "--json"]);
    logs_are_lines_of_json(&output.stderr, 3);
    assert_printable("run", &output.stdout);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = summary["batch_run_id"].as_str().unwrap();
    for arguments in
        [&["check", "--book", text(&book)][..], &["show", run, "--portfolio", "p000", "--data", text(&data), "--json"]]
    {
        let output = coloured(arguments);
        assert_printable(&format!("{arguments:?}"), &output.stdout);
        assert!(String::from_utf8_lossy(&output.stdout).contains("img src=x"), "{arguments:?} does not name the file");
    }
    for path in files(&data.join("site")).iter().filter(|path| path.extension().is_none_or(|end| end != "json")) {
        let content = std::fs::read_to_string(path).unwrap();
        assert!(!content.contains("<img"), "{}", path.display());
    }
}
