//! The README's first command.

use crate::support::{glasslog, home, run};

#[test]
fn the_tour_ends_well_and_can_be_repeated() {
    let home = home();
    for (new, already) in [(60, 0), (0, 60)] {
        let (code, stdout, stderr) = run(home.path(), &["demo", "--once", "--listen", "127.0.0.1:0"]);
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert!(stdout.contains(&format!("+{new} new  {already} already logged")), "{stdout}");
        assert!(stdout.contains("/glasslog verify record --repo sample"), "{stdout}");
        assert!(stdout.contains("(exit code 1)"), "the tampered record is found: {stdout}");
        assert!(stdout.contains("witnesses: one, two") && stdout.contains("as of 20"), "{stdout}");
        assert!(stdout.contains("(exit code 4)"), "a quorum that is not there: {stdout}");
        assert!(
            stdout.contains("ABSENT path") && stdout.contains("(exit code 2)"),
            "absence is proven: {stdout}"
        );
        assert!(stderr.contains("has not the cosignatures that the policy asks for"), "{stderr}");
        assert!(stdout.lines().all(|line| line.len() < 400), "{stdout}");
    }
}

/// The demo's log is the demo's own, whatever settings other logs of this machine have.
#[test]
fn the_environment_does_not_reach_it() {
    let home = home();
    let mut demo = glasslog(home.path());
    demo.args(["demo", "--once", "--listen", "127.0.0.1:0"])
        .env("S3_BUCKET", "b")
        .env("API_KEY", "s3cret")
        .env("API_KEY_FILE", "/does/not/exist")
        .env("LOG_ORIGIN", "example.org/x");
    assert_eq!(demo.output().unwrap().status.code(), Some(0));
}
