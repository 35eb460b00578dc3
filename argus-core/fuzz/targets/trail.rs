//! Any bytes as a trail's file, as its checkpoint, and as what stands for removed records: read or refused, and what is whole is
//! read as a whole.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use argus_core::{AuditKey, AuditQuery, FileAudit};
use libfuzzer_sys::fuzz_target;

const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPhRMMjUwMCKoVFLgTmg7Sd3h7RrFoxubj+B9D/s0LQQ=\n-----END PUBLIC KEY-----\n";

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("argus-fuzz-{}", std::process::id()));
    let made = std::fs::create_dir_all(&folder);
    assert!(made.is_ok());
    folder
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(key) = AuditKey::from_pem("argus.example.com/shop", PUBLIC) else {
        return;
    };
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let name = match first % 4 {
        0 => "base.json",
        1 => "checkpoint",
        _ => "records-00000000000000000001.jsonl",
    };
    let file = FOLDER.join(name);
    let written = std::fs::write(&file, rest);
    assert!(written.is_ok());
    let read = FileAudit::read(&*FOLDER, &AuditQuery::default());
    let verified = FileAudit::verify(&*FOLDER);
    if let (Ok(tail), 2..) = (&verified, first % 4) {
        let found = read.map(|records| records.len() as u64);
        assert!(found.is_ok_and(|found| found == tail.records));
    }
    let signed = FileAudit::verify_signed(&*FOLDER, &key, None);
    assert!(signed.is_err(), "nobody signed it");
    let removed = std::fs::remove_file(&file);
    assert!(removed.is_ok());
});
