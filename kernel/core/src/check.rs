//! Invariants of the whole state, checked object by object. Tests call this after every step; the machine
//! calls it at the end of the hostile test. Each finding names the invariant and the object.
