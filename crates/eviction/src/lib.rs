//! Which entries go next: pure policies over facts handed in. No keys, no clocks, no locks.
