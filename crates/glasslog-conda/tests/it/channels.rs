//! Every real record that lies beside the project, judged by serde_json and serde_json_canonicalizer.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use glasslog_conda::{Conda1, decompress::decompress, source::subdir_of};
use glasslog_core::personality::Personality;
use serde_json::{Value, json};

use crate::support::{Handed, reading_of};

/// All repodata files below the collection of real channels, or nothing and a line that says so.
fn repodata_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/conda");
    let mut files = Vec::new();
    collect(&root, &mut files);
    if files.is_empty() {
        println!("skipped: {} is not there", root.display());
    }
    files.sort();
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, files);
        } else if name.contains("repodata") && (name.ends_with(".json") || name.ends_with(".json.zst")) {
            files.push(path);
        }
    }
}

#[test]
fn every_real_record_is_what_other_implementations_make_of_it() {
    let (mut records, mut sample) = (0, 0);
    for file in repodata_files() {
        let subdir =
            subdir_of(&file.to_string_lossy()).map_or("noarch".to_owned(), |subdir| subdir.to_string());
        let (_, plain) = decompress(File::open(&file).unwrap()).unwrap();
        let mut given = reading_of("real", &subdir, plain);
        given.records.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(given.error, None, "{}", file.display());
        let (_, plain) = decompress(File::open(&file).unwrap()).unwrap();
        let repodata: Value = serde_json::from_reader(plain).unwrap();
        let listed = listed(&repodata);
        assert_eq!(given.records.len(), listed.len(), "{}: {:?}", file.display(), given.remarks);
        for (handed, (name, record)) in given.records.iter().zip(&listed) {
            judge(handed, &subdir, name, record);
        }
        records += listed.len();
        sample += if file.to_string_lossy().contains("conda-forge-2024") { listed.len() } else { 0 };
        assert!(given.summary.is_clean(), "{}: {:?}", file.display(), given.remarks);
    }
    println!("{records} records, {sample} of them of the conda-forge sample");
    assert!(records == 0 || sample == 12_132);
}

/// The files that `repodata` lists, sorted by name.
fn listed(repodata: &Value) -> Vec<(String, &Value)> {
    let members = |value: &'_ Value| value.as_object().cloned().unwrap_or_default();
    let mut files = Vec::new();
    for section in ["packages", "packages.conda"] {
        for name in members(&repodata[section]).keys() {
            files.push((name.clone(), &repodata[section][name]));
        }
    }
    for extension in members(&repodata["v3"]).keys() {
        for name in members(&repodata["v3"][extension]).keys() {
            files.push((format!("{name}.{extension}"), &repodata["v3"][extension][name]));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    // What two sections list alike is one entry.
    files.dedup();
    files
}

fn judge(handed: &Handed, subdir: &str, name: &str, record: &Value) {
    let mut artifact = json!({});
    for (member, digits) in [("md5", 32), ("sha256", 64)] {
        let text = record[member].as_str().unwrap_or_default().to_ascii_lowercase();
        if text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            artifact[member] = json!(text);
        }
    }
    if let Some(size) = record["size"].as_u64() {
        artifact["size"] = json!(size);
    }
    assert_eq!(handed.hashless, artifact.get("md5").is_none() && artifact.get("sha256").is_none());
    assert_eq!(handed.md5_only, artifact.get("md5").is_some() && artifact.get("sha256").is_none());
    let entry = json!({
        "artifact": artifact, "eco": "conda", "meta": record, "path": format!("{subdir}/{name}"),
        "profile": "conda-repodata-1", "repo": "real", "type": "record", "v": 1,
    });
    let canonical = serde_json_canonicalizer::to_vec(&entry).unwrap();
    assert_eq!(String::from_utf8_lossy(&handed.entry), String::from_utf8_lossy(&canonical), "{name}");
    assert!(Conda1::any_repo().validate(&handed.entry).is_ok(), "{name}");
}

/// serde_json's maps must be sorted here, or the oracle above judges by another order than it seems to.
#[test]
fn maps_of_the_oracle_are_sorted() {
    assert_eq!(json!({"b": 1, "a": 2}).to_string(), r#"{"a":2,"b":1}"#);
}
