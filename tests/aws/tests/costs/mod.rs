//! Which requests each step makes, and what they cost.

use super::*;

/// What a request asks for, without the values.
fn shape(call: &Call) -> String {
    let mut told = vec![call.operation.clone()];
    for (name, value) in call.body.as_object().unwrap() {
        match name.as_str() {
            "TableName"
            | "Key"
            | "Item"
            | "ExpressionAttributeValues"
            | "RequestItems"
            | "Limit"
            | "ExclusiveStartKey" => {}
            _ => told.push(format!("    {name}: {}", value.as_str().map_or_else(|| value.to_string(), Into::into))),
        }
    }
    if let Some(tables) = call.body["RequestItems"].as_object() {
        let consistent = tables.values().all(|asked| asked["ConsistentRead"] == true);
        told.push(format!("    ConsistentRead: {consistent}"));
    }
    told.join("\n")
}

/// The exact conditions, changes and queries. Whoever changes one changes this snapshot, and says why.
#[tokio::test]
async fn requests_are_these() {
    let records = Records::new().await;
    let store = records.store();
    whole_run(&*store, 1, 2).await;
    let mut rerun = a_run(2);
    rerun.rerun_of = Some(id(1));
    store.create_run(&rerun).await.unwrap();
    let settle = ItemEvent::Settle { why: GiveUp::TimedOut, now: at(70) };
    store.apply_item(&key(id(2), 9), "Not planned", place(9), &settle).await.unwrap();
    let mut large = records_of(id(2), 8);
    large[0].job_metadata.insert("large".into(), noise(0..100).into());
    applied(store.apply_item(&key(id(2), 8), "P", place(8), &claim(1, 0)).await.unwrap());
    applied(store.apply_item(&key(id(2), 8), "P", place(8), &finish(1, 1, large)).await.unwrap());
    store.items(id(2), 0).await.unwrap();
    let failed =
        RunEvent::Publish { publication: Publication::Failed { at: at(200), error: "no room".into() }, plan_epoch: 1 };
    store.apply_run(id(1), &failed).await.unwrap();
    for query in [
        RunQuery { limit: 1, ..RunQuery::default() },
        RunQuery { rerun_of: Some(id(1)), ..RunQuery::default() },
        RunQuery { month: Some("2026-11".into()), ..RunQuery::default() },
        RunQuery { started_since: Some(at(0)), ..RunQuery::default() },
    ] {
        store.runs(&query).await.unwrap();
    }
    store.undelivered().await.unwrap();
    store.portfolio_runs(&portfolio(0).id, 5).await.unwrap();
    let job = records_of(id(1), 0)[0].job_name.clone();
    store.job_runs(&job, 5).await.unwrap();
    store.failures(None, None).await.unwrap();
    let books = records.aws.alert_books().unwrap();
    let book = books.alert_book(&"nightly".parse().unwrap()).await.unwrap();
    books.put_alert_book(&book).await.unwrap();
    books.alert_schedules().await.unwrap();
    let shapes: BTreeSet<String> = records.tap.calls().iter().map(shape).collect();
    assert!(shapes.iter().all(|shape| !shape.starts_with("Scan") && !shape.contains("IndexName")));
    insta::assert_snapshot!(shapes.into_iter().collect::<Vec<_>>().join("\n"));
}

// --- weights -------------------------------------------------------------------------------------------------------------

pub(super) fn size(item: &std::collections::HashMap<String, AttributeValue>) -> usize {
    let digits = |text: &String| text.len().div_ceil(2) + 1;
    let of = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(text) => digits(text),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ns(numbers) => numbers.iter().map(digits).sum(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    item.iter().map(|(name, value)| name.len() + of(value)).sum()
}

/// A whole run, with records as the sample book gives them: at most five write units a portfolio for everything.
#[tokio::test]
async fn a_portfolio_costs_at_most_five_write_units() {
    let records = Records::new().await;
    whole_run(&*records.store(), 1, 200).await;
    let written = |call: &&Call| ["PutItem", "UpdateItem", "DeleteItem"].contains(&call.operation.as_str());
    let calls = records.tap.calls();
    let units: f64 = calls.iter().filter(written).map(|call| call.units).sum();
    assert!(units / 200.0 <= 5.0, "{} write units a portfolio", units / 200.0);
    assert!(units / 200.0 >= 3.0, "{} write units a portfolio: they are not counted", units / 200.0);
    let read = calls.iter().filter(|call| !written(call)).map(|call| call.units).sum::<f64>() / 200.0;
    assert!(read <= 6.0, "{read} read units a portfolio");
    let items = records.items().await;
    let of = |start: &str| -> Vec<usize> {
        items.iter().filter(|item| item["pk"].as_s().unwrap().starts_with(start)).map(size).collect()
    };
    assert!(items.iter().all(|item| size(item) < 100 << 10));
    assert!(of("PF#").iter().all(|bytes| *bytes <= 2_048), "{:?}", of("PF#").iter().max());
    let folds = items.iter().filter(|item| item["sk"].as_s().unwrap() == "FOLD").map(size);
    assert!(folds.into_iter().all(|bytes| bytes <= 1_024));
}

/// What the service puts off of a batch is asked for again, until all of it is there.
#[tokio::test]
async fn what_is_put_off_is_asked_for_again() {
    let records = Records::new().await;
    records.tap.halve();
    let store = records.store();
    whole_run(&*store, 1, 30).await;
    let calls = records.tap.calls();
    assert!(calls.iter().filter(|call| call.operation == "BatchGetItem").count() > 5, "nothing was put off");
    let expected: Vec<JobRecord> = (0..30).flat_map(|n| records_of(id(1), n)).collect();
    assert_eq!(store.records(id(1), &RecordQuery::default()).await.unwrap(), expected);
}

/// The program in docs/dynamodb.md prints the records as this program reads them.
#[tokio::test]
async fn the_documented_program_reads_the_records() {
    let python = std::env::var("NIGHTBOOK_TEST_PYTHON").expect("run these tests by tests/aws/run");
    let records = Records::new().await;
    let store = records.store();
    let run = a_run(1);
    planned(&*store, &run, 103).await;
    for n in [0, 2, 101] {
        let mut told = records_of(id(1), n);
        if n == 2 {
            told[0].job_metadata.insert("large".into(), noise(0..20_000).into());
        }
        let (key, name) = (key(id(1), n), portfolio(n).name);
        applied(store.apply_item(&key, &name, place(n), &claim(1, 0)).await.unwrap());
        applied(store.apply_item(&key, &name, place(n), &finish(1, 1, told)).await.unwrap());
    }
    let documented = include_str!("../../../../docs/dynamodb.md");
    let program = documented.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let arguments = [program, &records.name, &id(1).to_string()].map(str::to_owned);
    let told = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(python);
        command.arg("-c").args(arguments).env_clear().env("AWS_ENDPOINT_URL", table::endpoint());
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")]);
        command.env("AWS_DEFAULT_REGION", "us-east-1").output().unwrap()
    });
    let told = told.await.unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let printed: Vec<serde_json::Map<String, serde_json::Value>> =
        String::from_utf8(told.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected: Vec<_> = store
        .records(id(1), &RecordQuery::default())
        .await
        .unwrap()
        .iter()
        .map(|record| {
            let mut fields = serde_json::to_value(record).unwrap().as_object().unwrap().clone();
            fields.retain(|_, value| !value.is_null());
            fields
        })
        .collect();
    assert_eq!(printed.len(), 3 * JOBS);
    assert_eq!(printed, expected);
}

/// A page of records reads the buckets that hold it, not the whole run.
#[tokio::test]
async fn a_page_reads_only_its_buckets() {
    let records = Records::new().await;
    let store = records.store();
    whole_run(&*store, 1, 300).await;
    let first = store.records_page(id(1), &RecordQuery::default(), None, 100).await.unwrap();
    let units = async |after, limit| {
        records.tap.calls();
        store.records_page(id(1), &RecordQuery::default(), after, limit).await.unwrap();
        records.tap.calls().iter().map(|call| call.units).sum::<f64>()
    };
    let (all, page) = (units(None, 0).await, units(first.next, 100).await);
    assert!(page > 0.0 && page * 2.0 < all, "a page of one bucket of three took {page} units of {all}");
}

/// What a closer reads grows with the portfolios, and no faster.
#[tokio::test]
async fn closing_is_linear() {
    let mut reads = Vec::new();
    for portfolios in [100, 300] {
        let records = Records::new().await;
        let store = records.store();
        let run = a_run(1);
        planned(&*store, &run, portfolios).await;
        for n in 0..portfolios {
            let settle = ItemEvent::Settle { why: GiveUp::Cancelled, now: at(70) };
            let name = portfolio(n).name;
            let item = applied(store.apply_item(&key(id(1), n), &name, place(n), &settle).await.unwrap());
            store.fold(id(1), place(n).bucket, &FoldEntry::of(&item, JOBS).unwrap()).await.unwrap();
        }
        records.tap.calls();
        close(&*store, id(1), portfolios).await;
        let calls = records.tap.calls();
        reads.push((calls.len(), calls.iter().map(|call| call.units).sum::<f64>()));
    }
    assert!(reads[1].0 <= 3 * reads[0].0 && reads[1].1 <= 3.0 * reads[0].1, "{reads:?}");
}

/// Records, a list of portfolios and a summary that are far too large for one item come back as they were.
#[tokio::test]
async fn no_item_is_too_large() {
    let records = Records::new().await;
    let store = records.store();
    let mut run = a_run(1);
    // More than a page of a query holds.
    run.filter = (0..50_000).map(|n| PortfolioId::new(&noise(n..n + 1)[..60]).unwrap()).collect();
    planned(&*store, &run, 1).await;
    let mut told = records_of(id(1), 0);
    told[3].job_metadata.insert("large".into(), noise(0..20_000).into());
    told[3].job_metadata.insert("nothing".into(), serde_json::Value::Null);
    applied(store.apply_item(&key(id(1), 0), "P", place(0), &claim(1, 0)).await.unwrap());
    applied(store.apply_item(&key(id(1), 0), "P", place(0), &finish(1, 1, told.clone())).await.unwrap());
    assert_eq!(store.items(id(1), 0).await.unwrap()[0].records, told);
    assert_eq!(store.run(id(1)).await.unwrap().unwrap().run.filter, run.filter);
    let largest = records.items().await.iter().map(size).max().unwrap();
    assert!((300 << 10..400 << 10).contains(&largest), "{largest}");
}
