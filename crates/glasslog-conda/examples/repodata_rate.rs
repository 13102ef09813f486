//! How fast repodata becomes canonical entries, and in how much memory.
//!
//! ```text
//! cargo run --release -p glasslog-conda --example repodata_rate -- generate /tmp/repodata.json [lean|pretty]
//! cargo run --release -p glasslog-conda --example repodata_rate -- read /tmp/repodata.json[.zst]
//! cargo run --release -p glasslog-conda --example repodata_rate -- validate /tmp/repodata.json
//! ```
//!
//! `generate` multiplies the real records of `../shared/data/conda/conda-forge-2024` to 254 MB, the size of
//! conda-forge's linux-64. That sample's records have six members that conda-forge itself does not serve (`fn`, `url`,
//! `channel` …): `lean` leaves them out, which brings a record from 670 to 440 bytes. `read` prints records a second,
//! by the clock and by the processor time of the process (which suffers less from other load), and the peak of its
//! resident memory, program and libraries included; `validate` times the check that a log makes of each entry.
#![expect(clippy::print_stdout, reason = "an example speaks to a person")]

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use glasslog_conda::{
    Conda1,
    decompress::decompress,
    names::{Repo, Subdir},
    repodata::{Event, read},
};
use glasslog_core::personality::Personality;
use serde_json::Value;

const GENERATED_BYTES: usize = 254_000_000;

/// Members of the sample's records that conda-forge does not serve.
const NOT_SERVED: [&str; 6] = ["arch", "channel", "fn", "package_type", "platform", "url"];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["generate", out] => generate(Path::new(out), false, false),
        ["generate", out, "lean"] => generate(Path::new(out), false, true),
        ["generate", out, "pretty"] => generate(Path::new(out), true, false),
        ["read", file] => time_reading(Path::new(file)),
        ["validate", file] => time_validating(Path::new(file)),
        _ => Err("usage: repodata_rate generate OUT [lean|pretty] | read FILE | validate FILE".into()),
    }
}

fn time_reading(file: &Path) -> Result<(), Box<dyn Error>> {
    let (repo, subdir) = (Repo::parse("conda-forge")?, Subdir::parse("linux-64")?);
    let mut entry_bytes = 0;
    let (begin, processor) = (Instant::now(), processor_seconds()?);
    let (_, plain) = decompress(File::open(file)?)?;
    let summary = read(plain, &repo, &subdir, |event| -> Result<(), std::convert::Infallible> {
        if let Event::Record(record) = event {
            entry_bytes += record.entry.len();
        }
        Ok(())
    })?;
    let (seconds, processor) = (begin.elapsed().as_secs_f64(), processor_seconds()? - processor);
    println!("{summary:?}");
    let (records, megabytes) = (summary.records as f64, summary.bytes as f64 / 1e6);
    println!(
        "{records} records, {megabytes:.0} MB of JSON, {:.0} MB of entries, peak {} KiB",
        entry_bytes as f64 / 1e6,
        peak_kib()?
    );
    for (clock, seconds) in [("elapsed", seconds), ("processor", processor)] {
        println!(
            "{clock} {seconds:.2} s: {:.0} records/s, {:.0} MB/s",
            records / seconds,
            megabytes / seconds
        );
    }
    Ok(())
}

fn time_validating(file: &Path) -> Result<(), Box<dyn Error>> {
    let (repo, subdir) = (Repo::parse("conda-forge")?, Subdir::parse("linux-64")?);
    let (_, plain) = decompress(File::open(file)?)?;
    let mut entries: Vec<Vec<u8>> = Vec::new();
    read(plain, &repo, &subdir, |event| -> Result<(), std::convert::Infallible> {
        if let Event::Record(record) = event
            && entries.len() < 100_000
        {
            entries.push(record.entry.to_vec());
        }
        Ok(())
    })?;
    let schema = Conda1::any_repo();
    let begin = processor_seconds()?;
    let valid = entries.iter().filter(|entry| schema.validate(entry).is_ok()).count();
    let each = (processor_seconds()? - begin) / entries.len() as f64;
    let mean = entries.iter().map(Vec::len).sum::<usize>() / entries.len();
    println!("{valid} of {} entries valid, {mean} B each: {:.2} µs", entries.len(), each * 1e6);
    Ok(())
}

fn generate(out: &Path, pretty: bool, lean: bool) -> Result<(), Box<dyn Error>> {
    let records = real_records(lean)?;
    let mut file = BufWriter::new(File::create(out)?);
    let mut written = file.write(b"{\"info\":{\"subdir\":\"linux-64\"},\"packages\":{")?;
    let mut copy = 0;
    while written < GENERATED_BYTES {
        for (name, record) in &records {
            let comma = if written > 50 { "," } else { "" };
            let space = if pretty { "\n    " } else { "" };
            let record = if pretty {
                serde_json::to_string_pretty(record)?.replace('\n', "\n    ")
            } else {
                record.to_string()
            };
            written += file.write(format!("{comma}{space}\"c{copy:03}-{name}\":{record}").as_bytes())?;
        }
        copy += 1;
    }
    file.write_all(b"},\"removed\":[]}")?;
    file.flush()?;
    println!("{} records, {written} bytes", copy * records.len());
    Ok(())
}

/// The records of the sample, in the order of their names.
fn real_records(lean: bool) -> Result<Vec<(String, Value)>, Box<dyn Error>> {
    let channel = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/conda/conda-forge-2024");
    let mut records = Vec::new();
    for subdir in fs::read_dir(channel)? {
        let file = File::open(subdir?.path().join("repodata.json.zst"))?;
        let repodata: Value = serde_json::from_reader(decompress(file)?.1)?;
        for section in ["packages", "packages.conda"] {
            for (name, record) in repodata[section].as_object().into_iter().flatten() {
                let mut record = record.clone();
                if let (true, Value::Object(members)) = (lean, &mut record) {
                    members.retain(|name, _| !NOT_SERVED.contains(&name.as_str()));
                }
                // The same name in two subdirs is two files here.
                records.push((format!("{}-{name}", records.len()), record));
            }
        }
    }
    records.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(records)
}

/// The peak of resident memory, as Linux counts it.
fn peak_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The processor time that this process has used, as Linux counts it, its kernel time included.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let nanoseconds = fs::read_to_string("/proc/self/schedstat")?;
    Ok(nanoseconds.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9)
}
