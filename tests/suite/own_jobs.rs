//! Jobs that are programs of the user's own, by the real program: the example of the repository, and programs that
//! misbehave in every way.

use std::path::Path;

use e2e::{json, nightbook, text, write_book};
use serde_json::Value;

fn schema(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn fits(schema: &jsonschema::Validator, value: &Value) {
    let errors: Vec<String> =
        schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(errors.is_empty(), "{errors:?} in {value}");
}

#[test]
fn the_example_in_python_is_a_job_like_any_other() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python-job/book");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (checked, code) = json(&["check", "--book", text(&example), "--json"]).unwrap();
    assert_eq!((checked["errors"].as_array().unwrap().len(), code), (0, 0), "{checked}");
    let (run, code) =
        json(&["run", "--book", text(&example), "--data", text(&data), "--as-of", "2026-06-30", "--json"]).unwrap();
    assert_eq!((code, &run["total_jobs"], &run["successful_jobs"]), (0, &20.into(), &20.into()), "{run}");
    let line = run["job_summary"].as_array().unwrap().last().unwrap();
    assert_eq!((&line["job"], &line["success"]), (&"concentration".into(), &2.into()));
    let (shown, _) = json(&["show", "latest", "--data", text(&data), "--portfolio", "growth", "--json"]).unwrap();
    let result = &shown["results"]["concentration"];
    let weights: f64 = result["weights"].as_object().unwrap().values().map(|weight| weight.as_f64().unwrap()).sum();
    assert!((weights - 1.0).abs() < 1e-9, "{result}");
    assert_eq!(shown["jobs"].as_array().unwrap().last().unwrap()["job_metadata"]["largest"], "AAA");
    let page = std::fs::read_to_string(data.join("site/portfolios/growth/index.html")).unwrap();
    assert!(page.contains("concentration") && data.join("site/jobs/concentration/index.html").exists());
    // The same question gives the same answer, also from the records alone.
    let (again, code) = json(&["rerun", "latest", "--data", text(&data), "--json"]).unwrap();
    assert_eq!((code, &again["successful_jobs"]), (0, &20.into()), "{again}");
    let (rerun, _) = json(&["show", "latest", "--data", text(&data), "--portfolio", "growth", "--json"]).unwrap();
    assert_eq!(&rerun["results"]["concentration"], result);
}

/// A job that is a piece of Python.
fn python(name: &str, more: &str, script: &str) -> String {
    format!(
        "\n[[jobs]]\nname = \"{name}\"\n{more}command = [\"python3\", \"-c\", '''\nimport json, os, subprocess, sys, time\n{script}\n''']\n"
    )
}

/// Programs that misbehave, each in its own way, and some that do not.
fn misbehaving() -> [String; 11] {
    [
        python(
            "asked",
            "needs = [\"position_values_update\", \"factor_analysis\"]\n",
            "open(\"asked.json\", \"w\").write(sys.stdin.read())\nprint(\"{\\\"status\\\": \\\"success\\\", \\\"result\\\": 7}\")",
        ),
        python("large", "", "sys.stdout.write(\"x\" * 10_000_000)"),
        python("hangs", "time_limit_seconds = 1\n", "os.close(1)\ntime.sleep(600)"),
        python("dies", "", "print(\"password=hunter2hunter2\", file=sys.stderr)\nos.kill(os.getpid(), 9)"),
        python("raises", "", "raise ValueError(\"no rates\")"),
        python("garbage", "", "sys.stdout.buffer.write(bytes(range(256)))"),
        python("not_a_number", "", "print(json.dumps({\"status\": \"success\", \"result\": float(\"nan\")}))"),
        python(
            "leaves_a_child",
            "",
            "child = subprocess.Popen([\"sleep\", \"600\"])\nopen(\"child\", \"w\").write(str(child.pid))\nprint(\"{\\\"status\\\": \\\"success\\\"}\")",
        ),
        python(
            "refuses",
            "",
            "print(json.dumps({\"status\": \"failed\", \"message\": \"the <b>rates</b> are not out\"}))",
        ),
        python("follows", "needs = [\"refuses\"]\n", "print(\"{}\")"),
        "\n[[jobs]]\nname = \"nobody\"\ncommand = [\"no-such-program-anywhere\"]\n".to_owned(),
    ]
}

#[test]
fn programs_that_misbehave_fail_alone_and_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    let jobs = misbehaving();
    let settings = book.join("nightbook.toml");
    let written = std::fs::read_to_string(&settings).unwrap().replace("[run]\n", "[run]\nretries = 1\n");
    std::fs::write(&settings, written + &jobs.concat()).unwrap();
    let (run, code) =
        json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--json"]).unwrap();
    assert_eq!((code, &run["status"], &run["total_jobs"]), (1, &"failed".into(), &20.into()), "{run}");
    let (shown, _) = json(&["show", "latest", "--data", text(&data), "--portfolio", "p000", "--json"]).unwrap();
    let record = |name: &str| shown["jobs"].as_array().unwrap().iter().find(|job| job["job_name"] == name).unwrap();
    for (job, status, category, said) in [
        ("asked", "success", "", ""),
        ("large", "failed", "permanent", "more than 4 MB"),
        ("hangs", "failed", "timeout", "longer than its limit of 1 s"),
        ("dies", "failed", "internal", "signal 9"),
        ("raises", "failed", "internal", "ValueError: no rates"),
        ("garbage", "failed", "permanent", "docs/jobs.md"),
        ("not_a_number", "failed", "permanent", "docs/jobs.md"),
        ("leaves_a_child", "success", "", ""),
        ("refuses", "failed", "permanent", "are not out"),
        ("follows", "skipped", "", ""),
        ("nobody", "failed", "permanent", "could not be started"),
        ("position_correlations", "success", "", ""),
    ] {
        let record = record(job);
        assert_eq!(record["status"], status, "{record}");
        if status == "failed" {
            assert_eq!(record["error"]["category"], category, "{record}");
            assert!(record["error"]["message"].as_str().unwrap().contains(said), "{record}");
        }
    }
    assert_eq!(record("follows")["skipped_because"]["job"], "refuses");
    assert_eq!(shown["results"]["asked"], 7);
    let child = std::fs::read_to_string(book.join("child")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "the child lives: {stat}");

    let asked: Value = serde_json::from_str(&std::fs::read_to_string(book.join("asked.json")).unwrap()).unwrap();
    fits(&schema("job-question.v1.json"), &asked);
    assert!(
        asked["results"]["positions"].is_array() && asked["results"]["factors"].is_object(),
        "{}",
        asked["results"]
    );
    assert_eq!(asked["sessions"].as_array().unwrap().len(), asked["closes"]["S0"].as_array().unwrap().len());

    // What they said is on record masked, and on the pages escaped.
    let store = std::fs::read(data.join("records.sqlite")).unwrap();
    assert!(!String::from_utf8_lossy(&store).contains("hunter2hunter2"));
    let page = std::fs::read_to_string(data.join("site/jobs/refuses/index.html")).unwrap();
    assert!(page.contains("&#60;b&#62;rates") && !page.contains("<b>rates"), "the message is escaped");
}

#[test]
fn what_the_example_answers_fits_the_schema() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python-job/book");
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("book");
    std::fs::create_dir_all(book.join("jobs")).unwrap();
    for name in ["portfolios.csv", "positions.csv", "prices.csv", "nightbook.toml", "jobs/concentration.py"] {
        std::fs::copy(example.join(name), book.join(name)).unwrap();
    }
    let settings = std::fs::read_to_string(book.join("nightbook.toml")).unwrap();
    let kept = settings.replace(
        "[\"python3\", \"jobs/concentration.py\"]",
        "[\"sh\", \"-c\", \"python3 jobs/concentration.py | tee answer-$$.json\"]",
    );
    assert_ne!(settings, kept);
    std::fs::write(book.join("nightbook.toml"), kept).unwrap();
    let data = dir.path().join("data");
    let ran = nightbook(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-06-30"]).unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let schema = schema("job-answer.v1.json");
    let mut answers = 0;
    for entry in std::fs::read_dir(&book).unwrap() {
        let path = entry.unwrap().path();
        if text(&path).contains("answer-") {
            fits(&schema, &serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap());
            answers += 1;
        }
    }
    assert_eq!(answers, 2);
}

/// The limit counts the work of a program, not its wait for a core: 12 programs of 0.4 s after each other would break a limit
/// of 3 s from the fourth second on.
#[test]
fn a_wait_for_a_core_is_no_time_of_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 12).unwrap();
    let settings = std::fs::read_to_string(book.join("nightbook.toml")).unwrap();
    let settings = settings.replace("[run]\n", "[run]\nconcurrency = 1\nretries = 1\n");
    let job =
        python("slow", "time_limit_seconds = 3\n", "time.sleep(0.4)\nprint(\"{\\\"status\\\": \\\"success\\\"}\")");
    std::fs::write(book.join("nightbook.toml"), settings + &job).unwrap();
    let (run, code) =
        json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--json"]).unwrap();
    assert_eq!((code, &run["failed_jobs"]), (0, &0.into()), "{run}");
    let waited = |portfolio: usize| {
        let id = format!("p{portfolio:03}");
        let (shown, _) = json(&["show", "latest", "--data", text(&data), "--portfolio", &id, "--json"]).unwrap();
        let record = shown["jobs"].as_array().unwrap().last().unwrap().clone();
        assert!(record["duration_seconds"].as_f64().unwrap() > 0.0, "{record}");
        record["waited_seconds"].as_f64().unwrap_or_default()
    };
    assert!((0..12).map(waited).sum::<f64>() > 3.0, "the waits are on record");
}

/// What nobody could read back fails the job that gave it; the other results of the portfolio stay readable.
#[test]
fn an_answer_that_cannot_be_read_back_fails_its_job_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    let answers = [
        ("huge", "{\\\"a\\\": 1e999}"),
        ("lone", "[\\\"\\\\ud800\\\"]"),
        ("key", "{\\\"\\\\udc00\\\": 1}"),
        ("deep", "\" + \"[\" * 101 + \"]\" * 101 + \""),
    ];
    let jobs = answers.map(|(name, result)| {
        python(name, "", &format!("print(\"{{\\\"status\\\": \\\"success\\\", \\\"result\\\": {result}}}\")"))
    });
    let settings = std::fs::read_to_string(book.join("nightbook.toml")).unwrap();
    std::fs::write(book.join("nightbook.toml"), settings + &jobs.concat()).unwrap();
    let (run, code) =
        json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--json"]).unwrap();
    assert_eq!((code, &run["failed_jobs"]), (1, &4.into()), "{run}");
    let (shown, code) = json(&["show", "latest", "--data", text(&data), "--portfolio", "p000", "--json"]).unwrap();
    assert_eq!(code, 0, "{shown}");
    assert!(
        shown["results"]["factor_analysis"].is_object() || shown["results"].as_object().unwrap().len() > 5,
        "{shown}"
    );
    for (name, _) in answers {
        let jobs = shown["jobs"].as_array().unwrap();
        let record = jobs.iter().find(|record| record["job_name"] == name).unwrap();
        let message = record["error"]["message"].as_str().unwrap();
        assert!(message.contains("a result that cannot be read back"), "{name}: {message}");
        assert_eq!(record["attempt"], 1, "once more would give the same");
    }
    let (doctor, code) = json(&["doctor", "--data", text(&data), "--json"]).unwrap();
    assert_eq!((doctor["problems"].as_array().unwrap().len(), code), (0, 0), "{doctor}");
}
