//! The header is made from the source, and says exactly what the library exports.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn made() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in [
        "codes", "lib", "handles", "runtime", "host", "doors", "walk",
    ] {
        builder = builder.with_src(folder.join(format!("src/{file}.rs")));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    let header = String::from_utf8(header).unwrap();
    // What Rust callers have to vouch for is said once, at the top.
    let mut kept: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in header.lines() {
        let comment = line.trim_start().strip_prefix("//");
        if comment.is_some_and(|text| text.trim() == "# Safety") {
            inside = true;
            kept.pop();
        }
        inside &= comment.is_some();
        if !inside {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}

#[test]
fn the_header_is_the_one_that_the_source_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/argus.h");
    let made = made();
    if std::env::var_os("ARGUS_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == made,
        "include/argus.h is older than the source: run `ARGUS_WRITE_HEADER=1 cargo test -p argus-ffi --test header`"
    );
}

#[test]
#[ignore = "bindings/c/test.sh builds the library and runs it"]
fn the_library_exports_what_the_header_declares() {
    let library = std::env::var("ARGUS_LIBRARY").unwrap();
    let symbols = Command::new("nm")
        .args(["--dynamic", "--defined-only", "--format=just-symbols"])
        .arg(&library)
        .output()
        .unwrap();
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    let exported: BTreeSet<&str> = symbols
        .lines()
        .filter(|name| name.starts_with("argus"))
        .collect();
    let header = made();
    let declared: BTreeSet<&str> = header
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != '(')
        .filter_map(|word| word.split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("argus_"))
        .collect();
    assert!(declared.len() > 25, "{declared:?}");
    assert_eq!(exported, declared);
}

#[test]
fn each_code_has_a_word_of_its_own() {
    let header = made();
    let numbers: BTreeSet<i32> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define ARGUS_"))
        .filter_map(|line| line.split_once(' ')?.1.parse().ok())
        .collect();
    let expected: BTreeSet<i32> = (0..=24).collect();
    assert_eq!(numbers, expected);
}
