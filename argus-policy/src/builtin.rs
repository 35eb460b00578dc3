//! The packs that every engine has, compiled in.

use serde_json::Map;

use crate::pack::{File, Pack, PackError};

macro_rules! pack {
    ($name:literal $(, $file:literal)*) => {
        ($name, &[$(($file, include_str!(concat!("../policies/", $name, "/", $file)))),*])
    };
}

/// Name, files, and what they say.
const PACKS: [(&str, &[(&str, &str)]); 4] = [
    pack!("baseline", "baseline.rego", "pack.yaml"),
    pack!(
        "workload_safety",
        "data.json",
        "pack.yaml",
        "workload_safety.rego"
    ),
    pack!(
        "change_freeze",
        "change_freeze.rego",
        "data.json",
        "pack.yaml"
    ),
    pack!(
        "blast_radius",
        "blast_radius.rego",
        "data.json",
        "pack.yaml"
    ),
];

pub(crate) fn packs() -> Result<Vec<Pack>, PackError> {
    PACKS.iter().map(|pack| compile(pack, true)).collect()
}

fn compile((name, files): &(&str, &[(&str, &str)]), checked: bool) -> Result<Pack, PackError> {
    let file = |(name, text): &(&str, &str)| File {
        name: (*name).into(),
        text: (*text).into(),
    };
    let files = files.iter().map(file).collect();
    Pack::compile(name, files, &Map::new(), checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_has_passed_every_check() {
        for pack in &PACKS {
            compile(pack, false).unwrap();
        }
    }
}
