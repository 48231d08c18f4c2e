//! What a write of a watched file costs, against the number of clients that watch it.

use std::fs::File;

use anyhow::{Context, Result};
use tests::daemon::Daemon;

use crate::{
    arena::{self, Arena},
    crowd::Crowd,
    descriptors,
    fan_out::SPARE,
    peers::NO_DAEMON,
    pin,
    report::{self, Figure, Target, curve},
    scale::Scale,
    stats::median,
    writes,
};

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let (counts, why) = descriptors::clients(scale.clients)?;
    if let Some(why) = why {
        report::skipped("clients", &why)?;
    }
    let _others = pin::others()?;
    for (name, root) in arena.filesystems() {
        let path = arena::files(root, "clients", 1)?.pop().context("no file")?;
        let file = File::options().write(true).open(&path)?;
        let (mut points, mut nobody) = (Vec::new(), Vec::new());
        for &count in &counts {
            let (mut ours, mut none, mut target) = (Vec::new(), Vec::new(), Target::None);
            for _ in 0..scale.client_rounds {
                none.push(writes::sample(&file, scale)?.cpu);
                let daemon = Daemon::start(&arena.exports(), &format!("clients = {}", count + SPARE))?;
                target = Target::of_writes(&daemon)?;
                let _drain = Crowd::of_clients(&daemon.socket(), &path, count)?.drain();
                ours.push(writes::sample(&file, scale)?.cpu);
            }
            points.push((count as f64, median(&ours)));
            nobody.push((count as f64, median(&none)));
            let figure = format!("write on {name}, by number of clients: {count}");
            Figure::paired(figure, "ns", &ours, (NO_DAEMON, &none), target).print()?;
        }
        curve("clients", name, &points)?;
        curve("clients", &format!("{name}, {NO_DAEMON}"), &nobody)?;
    }
    Ok(())
}
