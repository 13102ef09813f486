//! A full disk: adds are pushed back, reads go on, and it recovers by itself (invariant 7).

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Server, home, poll};

/// A small filesystem of its own, unmounted when dropped.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Mount {
    pub(crate) fn new(at: PathBuf, megabytes: u32) -> Option<Mount> {
        std::fs::create_dir_all(&at).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Mount(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _best_effort = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Takes all room that is left.
pub(crate) fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    while file.write_all(&[0xaa; 64 << 10]).is_ok() {}
    while file.write_all(&[0xaa]).is_ok() {}
    path
}

#[test]
fn a_full_disk_pushes_back_and_recovers() {
    let home = home();
    let Some(mount) = Mount::new(home.path().join("small"), 400) else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let server = Server::start(home.path(), &["--dir", "small/log"]);
    let entry = |number: u64| format!("{number} {}", "x".repeat(60_000)).into_bytes();
    assert_eq!(server.add(&entry(0)), 0);
    server.wait_for_size(1);

    let filler = fill(&mount.0);
    let mut acknowledged = vec![entry(0)];
    let refusal = poll(|| {
        let next = entry(acknowledged.len() as u64);
        let answer = server.post("/add", &[], &next);
        match answer.status {
            200 => {
                assert_eq!(answer.text(), format!("{}\n", acknowledged.len()));
                acknowledged.push(next);
                None
            }
            _ => Some(answer),
        }
    });
    assert_eq!(refusal.status, 503, "{}", refusal.text());
    assert!(refusal.head.to_ascii_lowercase().contains("retry-after:"), "{}", refusal.head);
    assert_eq!(server.checkpoint().1.lines().next(), Some(server.origin.as_str()), "reads go on");

    std::fs::remove_file(filler).unwrap();
    let next = entry(acknowledged.len() as u64);
    poll(|| (server.post("/add", &[], &next).status == 200).then_some(()));
    acknowledged.push(next);
    server.wait_for_size(acknowledged.len() as u64);
    assert!(server.entries(acknowledged.len() as u64) == acknowledged, "nothing acknowledged is lost");
    server.stop();
}
