(** Concrete runs: that the model does what it should, and that what the theorems suppose does happen. *)
From Ecusson Require Export Theorems.
Open Scope N_scope.

(** The explorer's machine: 4 small objects, 16 capabilities a page, tables of 2 entries, 2 cores, 64 pages. *)
Definition explorer := Config 4 16 1 3 2 [(1, 64)].
Definition s0 := boot explorer 1 64.
Definition root := thread0_at 1.

(** A system call of whoever runs on core 0, who goes on or gives way to [next]; the result words of the caller. *)
Definition sys (number slot second : N) (words : list N) (next : N) (s : option state) : option state :=
  match s with Some s => step 0 0 (Syscall (Request number slot second words)) (Some next) s | None => None end.
Definition invoke_ (slot : N) (words : list N) (s : option state) : option state := sys 4 slot 0 words root s.
Definition result (t : N) (s : option state) : option (N * N) :=
  match s with Some s => Some (reg 6 (thr t s), reg 7 (thr t s)) | None => None end.

Example root_runs : actor 0 s0 = Some root.
Proof. vm_compute. reflexivity. Qed.
Example boot_is_reachable : reachable explorer 1 64 s0.
Proof. apply reach_boot. Qed.

(** A Notification in slot 20; a copy with SIGNAL only in slot 21. *)
Definition noted := invoke_ 32 [2; 8; 20; 0; 0; 0] (Some s0).
Definition granted := invoke_ 1 [1; 20; 21; 16; 0; 0] noted.
Example creation_succeeds : result root noted = Some (DONE, 0).
Proof. vm_compute. reflexivity. Qed.
Example the_slot_must_be_empty : result root (invoke_ 32 [2; 8; 20; 0; 0; 0] noted) = Some (error_code Occupied, 2).
Proof. vm_compute. reflexivity. Qed.
Example a_copy_has_fewer_rights :
  match granted with Some s => option_map c_rights (slot_of (domain_of root s) 21 s) | None => None end = Some SIGNAL.
Proof. vm_compute. reflexivity. Qed.
Example a_copy_without_grant_is_not_copied : result root (invoke_ 1 [1; 21; 22; 255; 0; 0] granted) = Some (error_code NoRight, 1).
Proof. vm_compute. reflexivity. Qed.

(** Destroying it kills both copies. *)
Definition destroyed := invoke_ 20 [OP_DESTROY; 0; 0; 0; 0; 0] granted.
Example destruction_is_done : result root destroyed = Some (DONE, 0).
Proof. vm_compute. reflexivity. Qed.
Example the_copy_is_dead : result root (invoke_ 21 [OP_IDENTIFY; 0; 0; 0; 0; 0] destroyed) = Some (error_code Dead, 0).
Proof. vm_compute. reflexivity. Qed.

(** A Region of two pages, scrubbed and attached at page 0; then detached. *)
Definition region := invoke_ 20 [4; 0; 0; 0; 0; 0] (invoke_ 32 [2; 2; 20; 2; 0; 0] (Some s0)).
Definition attached := invoke_ 20 [2; 2; 0; 3; 0; 0] region.
Definition translation (v : N) (s : option state) : option (N * N) :=
  match s with Some s => option_map (fun e => (p_frame e, p_rights e)) (get2 (space0 1) v (ptes s)) | None => None end.
Example attaching_is_done : result root attached = Some (DONE, 0).
Proof. vm_compute. reflexivity. Qed.
Example the_page_is_mapped : translation 1 attached = Some (64, 3).
Proof. vm_compute. reflexivity. Qed.
Example what_the_region_lacks_is_refused : result root (invoke_ 20 [2; 2; 0; 6; 0; 0] region) = Some (error_code BadArg, 3).
Proof. vm_compute. reflexivity. Qed.
Definition detached := invoke_ 20 [3; 0; 0; 0; 0; 0] (invoke_ 20 [3; 0; 0; 0; 0; 0] attached).
Example detaching_unmaps : (result root detached, translation 1 detached) = (Some (DONE, 0), None).
Proof. vm_compute. reflexivity. Qed.

(** A Memory of eight pages, a Space made of it, and everything back. *)
Definition pool := invoke_ 20 [2; 3; 21; 0; 0; 0] (invoke_ 32 [1; 8; 20; 0; 0; 0] (Some s0)).
Definition pool_left (s : option state) := result root (invoke_ 20 [4; 0; 0; 0; 0; 0] s).
Example a_space_takes_two_pages : pool_left pool = Some (DONE, 6).
Proof. vm_compute. reflexivity. Qed.
Fixpoint often (n : nat) (f : option state -> option state) (s : option state) : option state :=
  match n with O => s | S n => often n f (f s) end.
Definition reclaimed := often 3 (invoke_ 20 [3; 0; 0; 0; 0; 0]) pool.
Example reclaiming_is_done : (result root reclaimed, pool_left reclaimed) = (Some (DONE, 0), Some (DONE, 8)).
Proof. vm_compute. reflexivity. Qed.

(** A second thread (slot 20), which serves a passive portal (slot 21) and has no time of its own. *)
Definition server := 42 * PAGE_BYTES.
Definition furnished :=
  invoke_ 20 [1; 4096; 0; 0; 0; 0] (invoke_ 32 [2; 7; 21; 20; 7; 0] (invoke_ 32 [2; 5; 20; 1; 0; 0] (Some s0))).
Example the_server_is_a_thread : match furnished with Some s => is_kind Thread server s | None => false end = true.
Proof. vm_compute. reflexivity. Qed.
(** Its own time, to get it to wait for calls: context in slot 22, priority 31. *)
Definition started :=
  sys 4 22 0 [2; 20; 0; 0; 0; 0] server (invoke_ 22 [1; 5; 7936; 1; 1; 0] (invoke_ 32 [2; 6; 22; 0; 0; 0] furnished)).
Definition waiting := sys 1 NO_DEADLINE 0 [0; 0; 0; 0; 0; 0] root started.
Definition called := sys 0 21 0 [1; 2; 3; 4; 5; 6] server waiting.
Definition time_of (t : N) (s : option state) : option (option N) := option_map (fun s => held_by t s) s.
Definition label_and_words (t : N) (s : option state) : option (N * list N) :=
  match s with Some s => Some (reg 7 (thr t s), firstn 6 (t_regs (thr t s))) | None => None end.
Example the_server_gets_label_and_words : label_and_words server called = Some (7, [1; 2; 3; 4; 5; 6]).
Proof. vm_compute. reflexivity. Qed.
Example root_lent_its_time : (time_of root called, time_of server called) = (Some None, time_of root waiting).
Proof. vm_compute. reflexivity. Qed.
Example the_server_runs_and_root_cannot : match called with Some s => may_choose 0 (Some root) s | None => true end = false.
Proof. vm_compute. reflexivity. Qed.
Definition replied := sys 1 NO_DEADLINE 0 [9; 8; 7; 6; 5; 4] root called.
Example root_gets_the_reply : label_and_words root replied = Some (0, [9; 8; 7; 6; 5; 4]).
Proof. vm_compute. reflexivity. Qed.
Example root_has_its_time_back : time_of root replied = time_of root waiting.
Proof. vm_compute. reflexivity. Qed.
Example one_call_one_answer : match replied with Some s => trace s | None => [] end = [EAnswered root; ECalled root].
Proof. vm_compute. reflexivity. Qed.
(** While the server runs, the scheduler's relation refuses root in its stead: it waits for the answer. *)
Example nobody_may_run_in_its_stead : match called with Some s => step 0 0 Reschedule (Some root) s | None => Some s0 end = None.
Proof. vm_compute. reflexivity. Qed.

