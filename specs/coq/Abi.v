(** The numbers of the interface ([kernel/abi]): kinds, rights, errors, operations, bounds. *)
From Ecusson Require Export Maps.

Inductive kind :=
  Memory | Region | Space | ProtectionDomain | Thread | SchedContext | Portal | Notification
  | Vcpu | Interrupt | Ports | Platform.

Definition kind_code (k : kind) : N :=
  match k with
  | Memory => 1 | Region => 2 | Space => 3 | ProtectionDomain => 4 | Thread => 5 | SchedContext => 6
  | Portal => 7 | Notification => 8 | Vcpu => 9 | Interrupt => 10 | Ports => 11 | Platform => 12
  end.

Definition kind_of_code (n : N) : option kind :=
  match n with
  | 1 => Some Memory | 2 => Some Region | 3 => Some Space | 4 => Some ProtectionDomain | 5 => Some Thread
  | 6 => Some SchedContext | 7 => Some Portal | 8 => Some Notification | 9 => Some Vcpu | 10 => Some Interrupt
  | 11 => Some Ports | 12 => Some Platform | _ => None
  end.

Definition kind_eqb (a b : kind) : bool := kind_code a =? kind_code b.

Lemma kind_eqb_eq a b : kind_eqb a b = true -> a = b.
Proof. destruct a, b; cbn; intro H; (reflexivity || discriminate H). Qed.

Inductive error :=
  BadCap | BadType | NoRight | BadArg | BadState | Occupied | NoMemory | Busy | Dead | TooDeep | Timeout | Unsupported.

Definition error_code (e : error) : N :=
  match e with
  | BadCap => 1 | BadType => 2 | NoRight => 3 | BadArg => 4 | BadState => 5 | Occupied => 6 | NoMemory => 7
  | Busy => 8 | Dead => 9 | TooDeep => 10 | Timeout => 11 | Unsupported => 12
  end.

(** Rights are sets of eight bits. *)
Definition rights := N.
Definition READ : rights := 1.
Definition WRITE : rights := 2.
Definition EXECUTE : rights := 4.
Definition CALL : rights := 8.
Definition SIGNAL : rights := 16.
Definition BIND : rights := 32.
Definition MANAGE : rights := 64.
Definition GRANT : rights := 128.
Definition CPU_TIME : rights := 8. (* Platform *)
Definition POWER : rights := 16.   (* Platform *)
Definition ALL : rights := 255.
Definition NONE : rights := 0.

(** Whether every right of the second set is in the first. *)
Definition holds (held needed : rights) : bool := N.land held needed =? needed.
Definition subset (r q : rights) : Prop := N.land r q = r.

Lemma subset_refl r : subset r r.
Proof. apply N.land_diag. Qed.
Lemma subset_trans a b c : subset a b -> subset b c -> subset a c.
Proof. unfold subset. intros H K. rewrite <- H at 1. now rewrite <- N.land_assoc, K. Qed.
Lemma subset_land_l a b : subset (N.land a b) a.
Proof. unfold subset. rewrite <- N.land_assoc, (N.land_comm b a), N.land_assoc, N.land_diag. reflexivity. Qed.
Lemma subset_land_r a b : subset (N.land a b) b.
Proof. unfold subset. now rewrite <- N.land_assoc, N.land_diag. Qed.
Lemma holds_subset a b : holds a b = true -> subset b a.
Proof. unfold holds, subset. intro H. apply N.eqb_eq in H. now rewrite N.land_comm. Qed.

Definition PAGE_BYTES : N := 4096.
Definition SMALL_BYTES : N := 128.
Definition MAX_REGION_PAGES : N := 2147483648.
Definition MAX_TABLE_PAGES : N := 255.
Definition MAX_SLICE_DEPTH : N := 8.
Definition MAX_CALL_DEPTH : nat := 8.
Definition SCRUB_PAGES : N := 64.
Definition SWEEP_PAGES : nat := 256.
Definition FUND_PAGES : N := 64.
Definition TABLES_A_STEP : nat := 64.
Definition STALE_CALLERS : nat := 16.
Definition CORE_THREADS : N := 256.
Definition CORE_CONTEXTS : N := 256.
Definition FAIR_PRIORITY : N := 1.
Definition LONGEST_PERIOD : N := 864000000000000.
Definition USER_PAGES : N := 0x7FFFFFFFF.
Definition NO_DEADLINE : N := 0xFFFFFFFFFFFFFFFF.
Definition USER_FLAGS : N := 0x202.
Definition POKE_FLAGS : N := 0xDD5.
Definition FAULT_WORD : N := 0xFA00.

Definition OP_IDENTIFY : N := 0xFE.
Definition OP_DESTROY : N := 0xFF.

(** Status words: an error, or an event in bits 8 to 15; bit 16 says that a capability came. *)
Definition DONE : N := 0.
Definition EV_SIGNAL : N := 0x100.
Definition EV_DEADLINE : N := 0x200.
Definition EV_PROGRESS : N := 0x400.
Definition WITH_CAP : N := 0x10000.

Definition page_of (address : N) : N := address / PAGE_BYTES.
