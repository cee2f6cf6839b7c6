//! All comparisons together.

use super::{access, append, arena, memory, paged, scaling, touch, vectors};
use crate::plan::{Comparison, Scale};

/// Returns everything that the report measures, in its order.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    [
        touch::comparisons(scale),
        vectors::comparisons(scale),
        append::comparisons(scale),
        arena::comparisons(scale),
        access::comparisons(scale),
        scaling::comparisons(scale),
        memory::comparisons(scale),
        paged::comparisons(scale),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_goals_are_about_contenders() {
        for scale in [Scale::Full, Scale::Quick] {
            let all = comparisons(scale);
            for (n, comparison) in all.iter().enumerate() {
                assert!(
                    all[..n].iter().all(|other| other.name != comparison.name),
                    "{}",
                    comparison.name
                );
                let names: Vec<_> = comparison
                    .contenders
                    .iter()
                    .map(|contender| contender.name.as_str())
                    .collect();
                assert!(
                    comparison.limit.is_none_or(|limit| names.contains(&limit)),
                    "{}",
                    comparison.name
                );
                for (n, name) in names.iter().enumerate() {
                    assert!(!names[..n].contains(name), "{}: {name}", comparison.name);
                }
                for goal in &comparison.goals {
                    for name in [goal.ours, goal.theirs] {
                        assert!(
                            names.contains(&name),
                            "{}: {name} of {names:?}",
                            comparison.name
                        );
                    }
                }
            }
        }
    }
}
