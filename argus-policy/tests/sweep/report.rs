//! Counts of a sweep, and what passed, in words.

use std::collections::{BTreeMap, BTreeSet};

use argus_core::{Kind, PatchKind, Risk};

use super::pipeline::Outcome;
use super::run::{Found, Record};

/// The columns of the table.
const COLUMNS: [&str; 9] = [
    "cases", "parse", "floor", "policy", "server", "nothing", "high", "medium", "low",
];

/// Fewer would mean that the document or the fixtures were not read.
const FEWEST_CASES: usize = 5_000;

pub(crate) struct Report(Found);

impl Report {
    pub(crate) fn new(found: Found) -> Self {
        Self(found)
    }

    pub(crate) fn print(&self) {
        self.print_counts();
        self.print_passed();
        self.print_untested();
    }

    /// Fails on what passed and must not.
    pub(crate) fn check(&self) {
        let cases = self.0.records.len();
        assert!(cases >= FEWEST_CASES, "only {cases} cases");
        let doubted: Vec<&Record> = self
            .0
            .records
            .iter()
            .filter(|record| record.is_level_doubted)
            .collect();
        let first = doubted
            .first()
            .map(|record| (&record.kind, &record.name, &record.body));
        assert!(
            first.is_none(),
            "the API server sees another Pod Security level in {} cases: {first:?}",
            doubted.len()
        );
        let listed = |record: &&Record| record.listed == Some(false);
        let unlisted = self.0.records.iter().filter(listed).count();
        let never = self
            .0
            .records
            .iter()
            .filter(|record| !record.never.is_empty())
            .count();
        assert!(
            unlisted == 0 && never == 0,
            "{unlisted} cases pass by default that are not in the table; {never} pass where high risk is allowed that never may: see the lists above"
        );
    }

    fn print_counts(&self) {
        let mut counts: BTreeMap<(Kind, &str), [usize; COLUMNS.len()]> = BTreeMap::new();
        let mut all = [0; COLUMNS.len()];
        for record in &self.0.records {
            let column = match &record.outcome {
                Outcome::Parse(_) => 1,
                Outcome::Floor(_) => 2,
                Outcome::Policy(_) => 3,
                Outcome::Server(_) => 4,
                Outcome::Nothing => 5,
                Outcome::High(_) | Outcome::Allowed(Risk::High, _) => 6,
                Outcome::Allowed(Risk::Medium, _) => 7,
                Outcome::Allowed(Risk::Low, _) => 8,
            };
            let row = counts
                .entry((record.kind, record.patch_kind.as_str()))
                .or_default();
            for row in [row, &mut all] {
                row[0] += 1;
                row[column] += 1;
            }
        }
        let line = |name: &str, patch_kind: &str, row: &[String]| {
            let cells: Vec<String> = row.iter().map(|cell| format!("{cell:>8}")).collect();
            println!("{name:<24} {patch_kind:<10}{}", cells.join(""));
        };
        line("kind", "patch", &COLUMNS.map(str::to_owned));
        for ((kind, patch_kind), row) in &counts {
            line(
                &kind.to_string(),
                patch_kind,
                &row.map(|count| count.to_string()),
            );
        }
        line("all", "", &all.map(|count| count.to_string()));
        println!(
            "{} values more that the API server did not take, where it took another",
            self.0.refused
        );
    }

    fn print_passed(&self) {
        let by_default = |record: &&Record| {
            matches!(record.outcome, Outcome::Allowed(..)) && record.listed != Some(true)
        };
        print_fields(
            "passes by default",
            self.0.records.iter().filter(by_default),
            |record| vec![format!("{:?}", record.outcome)],
        );
        let never = self
            .0
            .records
            .iter()
            .filter(|record| !record.never.is_empty());
        print_fields(
            "passes where high risk is allowed, and never may",
            never,
            |record| record.never.clone(),
        );
    }

    /// Fields of which the API server took no value: nothing was tested.
    fn print_untested(&self) {
        let mut tested: BTreeSet<(Kind, &str)> = BTreeSet::new();
        let mut all: BTreeMap<(Kind, &str), &Record> = BTreeMap::new();
        for record in &self.0.records {
            let field = (record.kind, record.field.as_str());
            all.insert(field, record);
            if !matches!(record.outcome, Outcome::Server(_) | Outcome::Nothing) {
                tested.insert(field);
            }
        }
        let untested: Vec<_> = all
            .iter()
            .filter(|(field, _)| !tested.contains(*field))
            .collect();
        println!(
            "\nof {} fields, the API server took no value of {}:",
            all.len(),
            untested.len()
        );
        for ((kind, field), record) in untested {
            println!("  {kind} {field}: {:?} of {}", record.outcome, record.body);
        }
    }
}

fn print_fields<'a>(
    title: &str,
    records: impl Iterator<Item = &'a Record>,
    why: impl Fn(&Record) -> Vec<String>,
) {
    let mut fields: BTreeMap<&str, (BTreeSet<String>, BTreeSet<String>, usize, &Record)> =
        BTreeMap::new();
    for record in records {
        let entry = fields
            .entry(&record.field)
            .or_insert_with(|| (BTreeSet::new(), BTreeSet::new(), 0, record));
        let patch_kind = match record.patch_kind {
            PatchKind::Json => "j",
            PatchKind::Merge => "m",
            PatchKind::Strategic => "s",
        };
        entry
            .0
            .insert(format!("{:?}/{:?}/{patch_kind}", record.kind, record.op));
        entry.1.extend(why(record));
        entry.2 += 1;
    }
    println!("\n{title}: {} fields", fields.len());
    for (field, (how, why, count, first)) in fields {
        let how: Vec<String> = how.into_iter().collect();
        let why: Vec<String> = why.into_iter().collect();
        println!(
            "  {field} ({count}): {} [{}] such as {} {}",
            why.join("; "),
            how.join(" "),
            first.name,
            first.body
        );
    }
}
