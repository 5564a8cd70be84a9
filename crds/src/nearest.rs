//! The known word nearest to an unknown one: what a person probably meant.

/// Returns the candidate that an unknown word was probably meant to be, if any is near.
///
/// Near is at most one edit for every three letters, and at least one; case counts for nothing.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The number of letters to insert, remove, replace or swap with a neighbour (optimal string
/// alignment: Damerau 1964, Levenshtein 1966).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut edits = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
            if swapped {
                edits = edits.min(rows[i - 2][j - 2] + 1);
            }
            row.push(edits);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let fields = ["weight", "bake", "maxBake", "gates", "pause"];
        let check = |word, meant| assert_eq!(nearest(word, fields), meant, "{word}");
        check("wieght", Some("weight"));
        check("Weight", Some("weight"));
        check("maxbake", Some("maxBake"));
        check("gate", Some("gates"));
        check("canary", None);
        check("", None);
    }
}
