//! A component store: each kind of component is one slice, and stays where it is however many come, so that others may
//! keep a pointer to one.

#![allow(unsafe_code, reason = "keeps a pointer into a vector that grows")]

use std::fmt::Write;

use elbowroom::{Budget, Error, ReservedVec};

const ENTITIES: usize = 20_000;
const ENTITIES_MAX: usize = 1_000_000;

#[derive(Clone, Copy)]
struct Position {
    x: i64,
    y: i64,
}

#[derive(Clone, Copy)]
struct Velocity {
    x: i64,
    y: i64,
}

/// What an entity is: a row of every column.
#[derive(Clone, Copy)]
struct Entity(usize);

/// The columns. Entities come, and none goes.
struct World {
    positions: ReservedVec<Position>,
    velocities: ReservedVec<Velocity>,
}

impl World {
    fn new(budget: &Budget) -> Result<World, Error> {
        Ok(World {
            positions: ReservedVec::builder(ENTITIES_MAX)
                .name("positions")
                .budget(budget)
                .build()?,
            velocities: ReservedVec::builder(ENTITIES_MAX)
                .name("velocities")
                .budget(budget)
                .build()?,
        })
    }

    /// An entity, or an error, and then there is no half of it.
    fn spawn(&mut self, position: Position, velocity: Velocity) -> Result<Entity, Error> {
        self.velocities.try_reserve(1)?;
        self.positions.try_push(position)?;
        self.velocities.push(velocity);
        Ok(Entity(self.positions.len() - 1))
    }

    /// Two slices side by side, as the compiler likes them.
    fn advance(&mut self) {
        for (position, velocity) in self.positions.iter_mut().zip(&self.velocities) {
            position.x += velocity.x;
            position.y += velocity.y;
        }
    }
}

/// What the program prints.
pub(crate) fn report() -> Result<String, Error> {
    let mut report = String::new();
    let budget = Budget::builder(2 << 20).name("world").build();
    let mut world = World::new(&budget)?;
    let hero = world.spawn(Position { x: 0, y: 0 }, Velocity { x: 3, y: -1 })?;
    // What a renderer would keep, or a library in C: the address of one position.
    let camera: *const Position = world.positions.as_ptr().wrapping_add(hero.0);
    let before = world.positions.as_ptr();

    for n in 1..ENTITIES as i64 {
        world.spawn(Position { x: n, y: n }, Velocity { x: n % 5, y: n % 7 })?;
    }
    (0..10).for_each(|_| world.advance());

    // SAFETY: the hero's position, in a vector that is alive and does not move what it holds; nobody changes it now.
    let Position { x, y } = unsafe { camera.read() };
    let moved = world.positions.as_ptr() != before;
    let sum: i64 = world
        .positions
        .iter()
        .map(|position| position.x + position.y)
        .sum();
    _ = writeln!(
        report,
        "{} entities, the columns moved: {moved}",
        world.positions.len()
    );
    _ = writeln!(
        report,
        "the camera sees the hero at {x}, {y}; the sum of all is {sum}"
    );
    // What does not fit is refused, and what is there stays.
    let refused = loop {
        if let Err(error) = world.spawn(Position { x: 0, y: 0 }, Velocity { x: 0, y: 0 }) {
            break error;
        }
    };
    let by = refused.budget().map_or("its maximum", Budget::name);
    let whole = world.positions.len() == world.velocities.len();
    let kept = world.positions.as_ptr() == before;
    _ = writeln!(
        report,
        "then refused by the budget {by:?}: rows are whole: {whole}, where they were: {kept}"
    );
    Ok(report)
}

fn main() -> Result<(), Error> {
    print!("{}", report()?);
    Ok(())
}
