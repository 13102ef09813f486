//! `glasslog bench`: short runs, judged by what they say they found.

use serde_json::Value;

use crate::support::{Server, home, run};

/// One second of load, with `more` flags.
fn bench(server: &Server, home: &std::path::Path, more: &[&str]) -> (i32, Value, String) {
    let mut args =
        vec!["bench", &server.url, "--duration", "1", "--connections", "4", "--sample", "50", "--json"];
    args.extend(more);
    let (code, stdout, stderr) = run(home, &args);
    let report = if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).unwrap() };
    (code, report, stderr)
}

#[test]
fn every_way_of_writing_loses_nothing() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1"]);
    let vkey = server.vkey.clone();
    let mut expected = 0;
    for more in [
        &["--vkey", &vkey][..],
        &["--rate", "200"],
        &["--batch", "20"],
        &["--wait-published"],
        &["--duplicates", "50", "--disk", "."],
    ] {
        let (code, report, stderr) = bench(&server, home.path(), more);
        assert_eq!((code, &report["ok"]), (0, &true.into()), "{more:?}: {report} {stderr}");
        assert_eq!(report["errors"], serde_json::json!({}), "{more:?}");
        assert!(report["proven"].as_u64().unwrap() > 0, "{more:?}: {report}");
        // Without `?wait=published` some answer comes before the checkpoint that covers its entry.
        let slowest = report["time_to_publish_ms"]["max"].as_f64().unwrap();
        assert!(slowest > 0.0 || more.contains(&"--wait-published"), "{more:?}: {report}");
        expected += report["acknowledged"].as_u64().unwrap();
        assert_eq!(server.records().len() as u64, expected, "{more:?}: acknowledged is what was appended");
    }
}

#[test]
fn refusals_are_counted_and_reading_can_be_measured_alone() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1"]);
    let (code, report, _) = bench(&server, home.path(), &["--kind", "raw", "--rate", "20"]);
    assert_eq!((code, &report["acknowledged"]), (1, &0.into()), "nothing was acknowledged");
    let errors = report["errors"].as_object().unwrap();
    assert!(errors.keys().all(|kind| kind.starts_with("422")) && !errors.is_empty(), "{errors:?}");
    let (code, report, _) = bench(&server, home.path(), &["--get", "checkpoint"]);
    assert_eq!((code, report["reads_per_s"].as_f64().unwrap() > 0.0), (0, true));
    assert_eq!(run(home.path(), &["bench", "https://127.0.0.1:1/"]).0, 64);
    assert_eq!(run(home.path(), &["bench", "http://127.0.0.1:1/", "--duration", "1"]).0, 4);
}
