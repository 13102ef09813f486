//! What may be read, and what is refused. HTTP itself is tested through the real binary.

use glasslog_core::entry_bundle;

use super::*;

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut File::create(path).unwrap(), bytes).unwrap();
    }
    directory
}

fn open(directory: &tempfile::TempDir) -> Source {
    Source::open(directory.path().to_str().unwrap()).unwrap()
}

#[test]
fn a_log_is_found_in_the_directory_or_in_public_below_it() {
    for path in ["checkpoint", "public/checkpoint"] {
        assert!(matches!(open(&directory(&[(path, b"note")])), Source::Directory(_)), "{path}");
    }
    for target in ["/no/such/directory", "ftp://example.org/", "file:///tmp", "http://"] {
        assert!(matches!(Source::open(target), Err(FetchError::NoLog { .. })), "{target}");
    }
    assert!(matches!(Source::open("https://example.org/log"), Ok(Source::Http(_))));
}

#[tokio::test]
async fn a_partial_that_is_gone_is_cut_from_the_full_one() {
    let entries: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte; usize::from(byte)]).collect();
    let bundle = entry_bundle::encode(&entries).unwrap();
    let tile: Vec<u8> = (0..=255_u8).flat_map(|byte| [byte; 32]).collect();
    let log = directory(&[("checkpoint", b"note"), ("tile/0/000", &tile), ("tile/entries/000", &bundle)]);
    let source = open(&log);
    let partial_tile = TileId { level: 0, index: 0, width: 7 };
    assert_eq!(source.tile(&partial_tile).await.unwrap(), tile[..7 * 32]);
    let partial_bundle = BundleId { index: 0, width: 7 };
    assert_eq!(source.bundle(&partial_bundle).await.unwrap(), entry_bundle::encode(&entries[..7]).unwrap());
    assert_eq!(source.tile(&partial_tile.full()).await.unwrap(), tile);
}

#[tokio::test]
async fn what_is_missing_or_too_long_is_named() {
    let long = vec![0; 33];
    let log = directory(&[("checkpoint", b"note"), ("tile/0/000.p/1", &long)]);
    let source = open(&log);
    let too_long = source.tile(&TileId { level: 0, index: 0, width: 1 }).await;
    assert!(matches!(too_long, Err(FetchError::TooLong { path, limit: 32 }) if path == "tile/0/000.p/1"));
    let missing = source.tile(&TileId { level: 0, index: 1, width: 3 }).await;
    assert!(matches!(missing, Err(FetchError::Missing { path }) if path == "tile/0/001.p/3"));
}
