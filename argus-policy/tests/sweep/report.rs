//! Counts of a sweep, and what passed, in words.

use std::collections::{BTreeMap, BTreeSet};

use argus_core::{Kind, Risk};

use super::pipeline::Outcome;
use super::run::{Found, Record};
use super::stolen::Stolen;

/// The columns of the table.
const COLUMNS: [&str; 9] = [
    "cases", "parse", "floor", "policy", "server", "nothing", "high", "medium", "low",
];

/// Fewer would mean that the document or the fixtures were not read.
const FEWEST_CASES: usize = 5_000;

/// What the API server says of fields that nobody may set, or only with others.
const KEPT: [&str; 6] = [
    "Forbidden",
    "immutable",
    "does not match template `labels`",
    "will be auto-generated",
    "must match dataSourceRef",
    "cannot set both",
];

/// How much of a patch is printed.
const MOST_SHOWN: usize = 200;

pub(crate) struct Report(Found);

impl Report {
    pub(crate) fn new(found: Found) -> Self {
        Self(found)
    }

    pub(crate) fn print(&self) {
        self.print_counts();
        self.print_stolen();
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
        let stolen = |wanted: fn(&Stolen) -> bool| {
            let found = self.0.records.iter().filter(|one| wanted(&one.stolen));
            found.count()
        };
        let passed = stolen(|stolen| matches!(stolen, Stolen::Passed(_)));
        let wrong = stolen(|stolen| matches!(stolen, Stolen::Passed(wrong) if !wrong.is_empty()));
        assert!(
            passed > 0 && stolen(|stolen| *stolen == Stolen::Policy) > passed,
            "the admission policies were not asked"
        );
        assert_eq!(
            wrong, 0,
            "a stolen token may do what is not listed, or never may: see above"
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

    /// What the API server does with the same patches of a stolen token, beside what Argus says of them.
    fn print_stolen(&self) {
        let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
        for record in &self.0.records {
            let says = match &record.outcome {
                Outcome::Server(_) | Outcome::Nothing => "nothing to say",
                Outcome::Allowed(Risk::Low | Risk::Medium, _) => "low or medium",
                Outcome::High(_) | Outcome::Allowed(Risk::High, _) => "high",
                Outcome::Parse(_) | Outcome::Floor(_) | Outcome::Policy(_) => "refused",
            };
            let column = match record.stolen {
                Stolen::Server => 0,
                Stolen::Nothing => 1,
                Stolen::Policy => 2,
                Stolen::Passed(_) => 3,
            };
            counts.entry(says).or_default()[column] += 1;
        }
        println!("\nwith a stolen token; Argus says    server nothing policy passes");
        for (says, [server, nothing, policy, passes]) in counts {
            println!("  {says:<32}{server:>7} {nothing:>7} {policy:>6} {passes:>6}");
        }
        let refused = |record: &&Record| {
            let says = &record.outcome;
            matches!(record.stolen, Stolen::Passed(_))
                && matches!(
                    says,
                    Outcome::Parse(_) | Outcome::Floor(_) | Outcome::Policy(_)
                )
        };
        print_fields(
            "a stolen token may, as one object alone shows, and Argus refuses",
            self.0.records.iter().filter(refused),
            |record| vec![format!("{:?}", record.outcome)],
        );
        let wrong = |record: &&Record| !record.wrong_of_stolen().is_empty();
        print_fields(
            "a stolen token may",
            self.0.records.iter().filter(wrong),
            |record| record.wrong_of_stolen().to_vec(),
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

    /// Fields of which the API server took no value, nor of anything below: nothing was tested. Those that it lets nobody
    /// set are counted, the others named.
    fn print_untested(&self) {
        let mut tested: BTreeSet<(Kind, &str)> = BTreeSet::new();
        let mut all: BTreeMap<(Kind, &str), &Record> = BTreeMap::new();
        for record in &self.0.records {
            all.insert((record.kind, &record.field), record);
            if !matches!(record.outcome, Outcome::Server(_) | Outcome::Nothing) {
                let ends = record
                    .field
                    .match_indices(['.', '[', '{'])
                    .map(|(end, _)| end);
                tested.extend(ends.map(|end| (record.kind, &record.field[..end])));
                tested.insert((record.kind, &record.field));
            }
        }
        let mut kept: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut untested = Vec::new();
        for (field, record) in &all {
            let is_kept = |why: &str| KEPT.iter().any(|text| why.contains(text));
            match &record.outcome {
                _ if tested.contains(field) => {}
                Outcome::Server(why) if is_kept(why) => *kept.entry(field.0).or_default() += 1,
                _ => untested.push(record),
            }
        }
        println!(
            "\nof {} fields, the API server lets nobody set: {kept:?}",
            all.len()
        );
        println!(
            "it took no value that was tried of {} more:",
            untested.len()
        );
        for record in untested {
            let (kind, field) = (record.kind, &record.field);
            let body: String = record.body.to_string().chars().take(MOST_SHOWN).collect();
            println!("  {kind} {field}: {:?} of {body}", record.outcome);
        }
    }
}

/// Of one field, what was done to it.
struct Passed<'a> {
    how: BTreeSet<String>,
    why: BTreeSet<String>,
    cases: usize,
    first: &'a Record,
}

fn print_fields<'a>(
    title: &str,
    records: impl Iterator<Item = &'a Record>,
    why: impl Fn(&Record) -> Vec<String>,
) {
    let mut fields: BTreeMap<&str, Passed<'_>> = BTreeMap::new();
    for record in records {
        let passed = fields.entry(&record.field).or_insert_with(|| Passed {
            how: BTreeSet::new(),
            why: BTreeSet::new(),
            cases: 0,
            first: record,
        });
        passed.how.extend([
            record.kind.to_string(),
            format!("{:?}", record.op),
            record.patch_kind.as_str().to_owned(),
        ]);
        passed.why.extend(why(record));
        passed.cases += 1;
    }
    println!("\n{title}: {} fields", fields.len());
    for (field, passed) in fields {
        let join = |texts: BTreeSet<String>| texts.into_iter().collect::<Vec<_>>().join(", ");
        let (how, why, cases) = (join(passed.how), join(passed.why), passed.cases);
        let body: String = passed
            .first
            .body
            .to_string()
            .chars()
            .take(MOST_SHOWN)
            .collect();
        println!(
            "  {field} ({cases}: {how}): {why}; such as {} {body}",
            passed.first.name
        );
    }
}
