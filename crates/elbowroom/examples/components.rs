//! A component store for a game. Each kind of component is one slice that never moves, so other code may keep pointers
//! to components while entities are added.

#![allow(unsafe_code, reason = "keeps a pointer into a vector that grows")]

use elbowroom::{Budget, Error, ReservedVec, Size};

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

/// The row of an entity in every column.
#[derive(Clone, Copy)]
struct Entity(usize);

/// The columns. Entities are only ever added.
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

    /// Adds an entity. On an error, no column has changed.
    fn spawn(&mut self, position: Position, velocity: Velocity) -> Result<Entity, Error> {
        self.velocities.try_reserve(1)?;
        self.positions.try_push(position)?;
        self.velocities.push(velocity);
        Ok(Entity(self.positions.len() - 1))
    }

    /// Moves every entity by its velocity, over two slices side by side.
    fn advance(&mut self) {
        for (position, velocity) in self.positions.iter_mut().zip(&self.velocities) {
            position.x += velocity.x;
            position.y += velocity.y;
        }
    }
}

fn main() -> Result<(), Error> {
    let budget = Budget::builder(2 << 20).name("world").build();
    let mut world = World::new(&budget)?;
    let hero = world.spawn(Position { x: 0, y: 0 }, Velocity { x: 3, y: -1 })?;
    // A renderer, or a library in C, could keep this pointer.
    let camera: *const Position = world.positions.as_ptr().wrapping_add(hero.0);

    for n in 1..20_000 {
        world.spawn(Position { x: n, y: n }, Velocity { x: n % 5, y: n % 7 })?;
    }
    (0..10).for_each(|_| world.advance());
    // SAFETY: the vector is alive and has not moved the hero's position, and nothing changes the position now.
    let Position { x, y } = unsafe { camera.read() };
    println!("the camera follows the hero to {x}, {y}");

    // The budget stops the growth with an error, and the world stays usable.
    let error = loop {
        if let Err(error) = world.spawn(Position { x: 0, y: 0 }, Velocity { x: 0, y: 0 }) {
            break error;
        }
    };
    println!(
        "no room for more than {} entities in {}",
        world.positions.len(),
        Size(budget.limit_bytes() as u64)
    );
    println!("{error}");
    Ok(())
}
