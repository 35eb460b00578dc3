//! The rooms stand in walking order: each imports only rooms that `lib.rs` declares above it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn a_room_imports_only_rooms_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = std::fs::read_to_string(source.join("lib.rs")).unwrap();
    let module = |line: &str| {
        let name = line
            .strip_prefix("pub mod ")
            .or_else(|| line.strip_prefix("mod "))?;
        Some(name.trim_end_matches(';').to_owned())
    };
    let rooms: Vec<String> = lib.lines().filter_map(module).collect();
    assert!(rooms.len() > 15, "{rooms:?}");
    let place = |room: &str| {
        rooms
            .iter()
            .position(|known| known == room)
            .unwrap_or_else(|| panic!("no room `{room}`"))
    };

    let mut all = Vec::new();
    files(&source, &mut all);
    let mut imports = 0;
    for file in all.iter().filter(|file| !file.ends_with("lib.rs")) {
        let inside = file.strip_prefix(&source).unwrap();
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let room = first.trim_end_matches(".rs");
        let text = std::fs::read_to_string(file).unwrap();
        // Unit tests may walk through every room.
        let text = text
            .split("#[cfg(test)]")
            .next()
            .unwrap()
            .split("#[cfg(all(test")
            .next()
            .unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            for path in code
                .split("crate::")
                .skip(1)
                .filter(|_| !code.contains("argus_crate::"))
            {
                let other: String = path
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
                if other.is_empty() {
                    continue;
                }
                imports += 1;
                let above = place(&other) <= place(room);
                assert!(
                    above,
                    "{}:{number}: `{room}` imports `{other}`, which stands below it",
                    inside.display()
                );
            }
        }
    }
    assert!(imports > 60, "only {imports} imports were seen");
}
