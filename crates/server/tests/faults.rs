//! The process when things go wrong around it: full disks, damaged files, wrong settings, signals, clients that mean harm or are slow.

#[path = "faults/clients.rs"]
mod clients;
#[path = "faults/damage.rs"]
mod damage;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/lifecycle.rs"]
mod lifecycle;
#[path = "faults/memory.rs"]
mod memory;
mod support;
