//! Regions that only one thread uses: the model predicts everything about them.

mod act;
mod budgets;
mod filter;
mod slot;

pub(crate) use act::Deed;
pub(crate) use budgets::Budgets;
pub(crate) use slot::Slot;

#[cfg(test)]
mod tests {
    use elbowroom::{Budget, page_size};

    use super::*;
    use crate::model::{Filter, Ground, Model};
    use crate::rng::Rng;

    #[test]
    fn what_differs_from_the_model_is_found() {
        let (mut rng, mut ground) = (Rng::new(7, 0), Ground::new());
        let root = Budget::new(1 << 30);
        let budgets = Budgets::new(&root, 50, &mut ground, &mut rng);
        let model = Model::new(20, 10, 1, Some(0), Filter::Commits);
        let mut slot = Slot::build(1, model, None, &mut rng, &budgets).unwrap();
        let page = page_size();
        for (deed, range) in [
            (Deed::Write, 5..13),
            (Deed::Fill, page..4 * page),
            (Deed::Decommit, 2 * page..2 * page + 1),
        ] {
            slot.act(deed, range, &mut rng, &mut ground).unwrap();
        }
        slot.look().unwrap();
        slot.read_all().unwrap();
        budgets.check(&ground, slot.models()).unwrap();

        // A byte that the model does not know.
        let byte: u8 = slot.region.try_read(page + 7).unwrap();
        slot.region.try_write(page + 7, !byte).unwrap();
        assert!(
            slot.read_all()
                .unwrap_err()
                .contains(&format!("byte {} is", page + 7))
        );
        assert!(
            slot.act(Deed::Read, page..page + 8, &mut rng, &mut ground)
                .is_err()
        );
        // A page that the model does not know.
        slot.region.commit(9 * page..10 * page).unwrap();
        assert!(slot.look().unwrap_err().contains("committed"));
        assert!(budgets.check(&ground, slot.models()).is_err());
        slot.region.decommit(9 * page..10 * page).unwrap();
        // A fault that the model does not know.
        slot.look().unwrap_err();
        slot.model.commits += 1;
        slot.look().unwrap();
        slot.region.try_write(slot.len(), 1u8).unwrap_err();
        assert!(slot.look().unwrap_err().contains("faults"));
    }
}
