//! A queue that several threads fill and empty, in every order.

use loom::sync::Arc;
use loom::thread;

use super::Ring;

#[test]
fn every_event_comes_out_whole_and_once() {
    loom::model(|| {
        let ring = Arc::new(Ring::<2>::new(2));
        let writers: Vec<_> = [1, 2]
            .into_iter()
            .map(|value| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || ring.push(&[value, value]))
            })
            .collect();
        let mut seen = Vec::new();
        seen.extend(ring.pop());
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        seen.extend(std::iter::from_fn(|| ring.pop()));
        seen.sort_unstable();
        assert_eq!(seen, [[1, 1], [2, 2]]);
        assert_eq!(ring.lost(), 0);
    });
}

#[test]
fn a_slot_is_used_again_only_when_it_has_been_read() {
    loom::model(|| {
        let ring = Arc::new(Ring::<2>::new(2));
        ring.push(&[1, 1]);
        ring.push(&[2, 2]);
        let writer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.push(&[3, 3]))
        };
        assert_eq!(ring.pop(), Some([1, 1]));
        writer.join().unwrap();
        assert_eq!(ring.pop(), Some([2, 2]));
        match ring.pop() {
            Some(event) => assert_eq!((event, ring.lost()), ([3, 3], 0)),
            None => assert_eq!(ring.lost(), 1),
        }
    });
}
