(** The state of the kernel, as the specification sees it.

    Relations between objects are maps of their own ([calls], [stacks], [homes], ...), each kept at one of its ends only; the other
    direction is searched for. So a list that is out of step with its members cannot be expressed here: that the kernel's lists
    agree is what the comparison with the kernel shows. *)
From Ecusson Require Export Abi.

(** Sizes and the machine. On the machine 32, 256, 9, 4; smaller in the explorer. *)
Record config := Config {
  small_objects : N;   (* small objects a page *)
  slots_per_page : N;  (* capabilities a page *)
  table_bits : N;      (* log2 of the entries of a page table *)
  table_levels : N;    (* levels of a page table *)
  core_count : N;
  ram : list (N * N)   (* first page, pages: what is no device *)
}.

(** A capability: object, kind, rights, epoch. *)
Record cap := Cap { c_addr : N; c_kind : kind; c_rights : rights; c_epoch : N }.

(** What an object is, as far as it never changes or says which pages are whose. *)
Inductive body :=
  | BMemory (first pages next end_ : N) (primal : bool) (* unused pages: [next, end_) *)
  | BRegion (first pages : N) (max : rights) (device : bool) (depth : N) (parent : option N)
  | BSpace (dma : bool) (memory : N)
  | BDomain (table_pages space memory : N)
  | BThread (domain : N)
  | BContext
  | BPortal
  | BNotification
  | BPlatform.

(** An object is in [objs] from its creation until its destruction is complete; in between it may be dying. *)
Record object := Object { o_epoch : N; o_alive : bool; o_body : body }.

Definition body_kind (b : body) : kind :=
  match b with
  | BMemory _ _ _ _ _ => Memory | BRegion _ _ _ _ _ _ => Region | BSpace _ _ => Space
  | BDomain _ _ _ => ProtectionDomain | BThread _ => Thread | BContext => SchedContext | BPortal => Portal
  | BNotification => Notification | BPlatform => Platform
  end.

(** What a page is used for, if it is no plain page. The owner is the Memory it came from, or what it is part of. *)
Inductive frame :=
  | FSmall (owner used : N)
  | FThread (owner : N)
  | FDomain (owner : N)
  | FTable (domain : N)
  | FPageTable (space : N)
  | FReturned (owner : N).

(** Lists of pages of a Memory: given back; small objects with room. [sweep]: page number plus one, 0 for none. *)
Record pool := Pool { returned : list N; roomy : list N; sweep : N }.

(** An attachment of a Region. [flush]: generation its unmapping waits for, 0 for none. *)
Record att := Att { a_space : N; a_page : N; a_rights : rights; a_mapped : N; a_flush : N; a_stamp : N }.

(** A translation: the page, what it permits, the Region it is for. *)
Record pte := Pte { p_frame : N; p_rights : rights; p_region : N }.

(** Page-table pages of a space: root (0 for none), others in use, funded and not in use. *)
Record tablepages := TablePages { t_root : N; t_used : list N; t_unused : list N }.

(** The call a thread waits in. *)
Inductive phase := Served | Queued.
Record callrec := Call { k_server : N; k_phase : phase; k_via : cap; k_level : N; k_stamp : N }.

Inductive run := Inactive | Running | Ready | Held | Waiting | WaitingSignal | Calling.

Record thread := MkThread {
  t_run : run; t_core : N; t_stopped : bool; t_faulting : bool; t_signals : bool;
  t_prio : N; t_own_prio : N; t_receive : N; t_transfer : N; t_deadline : option N;
  t_handler : option cap; t_fault : N * N * N; t_regs : list N
}.

(** [x_armed]: end of the period it waits for, if a replenishment is due. *)
Record context := MkContext {
  x_budget : N; x_period : N; x_window : N; x_used : N; x_total : N; x_weight : N; x_core : N; x_prio : N; x_armed : option N
}.

Record portal := MkPortal { p_label : N; p_active : bool }.

(** [r_loaded]: space whose root table the processor has; flush generations that are wanted and done. *)
Record core := MkCore { r_current : option N; r_charged : N; r_loaded : option N; r_wanted : N; r_flushed : N }.

(** What happened, for statements about histories: a thread's call began, it was answered (with a reply or an error). *)
Inductive event := ECalled (thread : N) | EAnswered (thread : N).

Record state := State {
  cfg : config;
  epochs : N;
  stamps : N;
  objs : map object;
  slots : map (map cap);
  frames : map frame;
  pools : map pool;
  atts : map att;
  ptes : map (map pte);
  tables : map (map N);
  spaces : map tablepages;
  calls : map callrec;
  stacks : map (list N);
  homes : map N;
  servers : map N;
  bound : map N;
  threads : map thread;
  contexts : map context;
  portals : map portal;
  bits : map N;
  cores : map core;
  now : N;
  flushes : N;
  trace : list event
}.

Definition with_epochs (v : N) (s : state) : state :=
  State (cfg s) v (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_stamps (v : N) (s : state) : state :=
  State (cfg s) (epochs s) v (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_objs (v : map object) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) v (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_slots (v : map (map cap)) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) v (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_frames (v : map frame) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) v (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_pools (v : map pool) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) v (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_atts (v : map att) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) v (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_ptes (v : map (map pte)) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) v (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_tables (v : map (map N)) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) v (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_spaces (v : map tablepages) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) v (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_calls (v : map callrec) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) v (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_stacks (v : map (list N)) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) v (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_homes (v : map N) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) v (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_servers (v : map N) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) v (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_bound (v : map N) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) v (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_threads (v : map thread) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) v (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_contexts (v : map context) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) v (portals s) (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_portals (v : map portal) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) v (bits s) (cores s) (now s) (flushes s) (trace s).
Definition with_bits (v : map N) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) v (cores s) (now s) (flushes s) (trace s).
Definition with_cores (v : map core) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) v (now s) (flushes s) (trace s).
Definition with_now (v : N) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) v (flushes s) (trace s).
Definition with_flushes (v : N) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) v (trace s).
Definition with_trace (v : list event) (s : state) : state :=
  State (cfg s) (epochs s) (stamps s) (objs s) (slots s) (frames s) (pools s) (atts s) (ptes s) (tables s) (spaces s) (calls s) (stacks s) (homes s) (servers s) (bound s) (threads s) (contexts s) (portals s) (bits s) (cores s) (now s) (flushes s) v.

(** Reduces projections of updates. *)
Ltac fields := cbn [cfg epochs stamps objs slots frames pools atts ptes tables spaces calls stacks homes servers bound threads contexts portals bits cores now flushes trace with_epochs with_stamps with_objs with_slots with_frames with_pools with_atts with_ptes with_tables with_spaces with_calls with_stacks with_homes with_servers with_bound with_threads with_contexts with_portals with_bits with_cores with_now with_flushes with_trace] in *.

Definition has_obj (a : N) (s : state) : bool := has a (objs s).
Definition body_of (a : N) (s : state) : option body := option_map o_body (get a (objs s)).
Definition is_kind (k : kind) (a : N) (s : state) : bool :=
  match body_of a s with Some b => kind_eqb (body_kind b) k | None => false end.
Definition alive (a : N) (s : state) : bool :=
  match get a (objs s) with Some o => o_alive o | None => false end.

(** The capability confers something: its object lives and has its epoch. *)
Definition live (c : cap) (s : state) : bool :=
  match get (c_addr c) (objs s) with
  | Some o => o_alive o && (o_epoch o =? c_epoch c)
  | None => false
  end.
Definition dying (c : cap) (s : state) : bool :=
  match get (c_addr c) (objs s) with
  | Some o => negb (o_alive o) && (o_epoch o =? c_epoch c)
  | None => false
  end.

Definition slot_of (d i : N) (s : state) : option cap := get2 d i (slots s).
Definition domain_of (t : N) (s : state) : N := match body_of t s with Some (BThread d) => d | _ => 0 end.
Definition table_size (d : N) (s : state) : N :=
  match body_of d s with Some (BDomain pages _ _) => pages * slots_per_page (cfg s) | _ => 0 end.

(** The capability in a slot of a thread's table. *)
Definition cap_at (t i : N) (s : state) : option cap := slot_of (domain_of t s) i s.

Definition is_reserved (first pages : N) (s : state) : bool :=
  existsb (fun r => (fst r <? first + pages) && (first <? fst r + snd r)) (ram (cfg s)).

(** Memory that is plain and claimed by exactly one object: unused pages of a Memory, pages of a root Region. *)
Definition range_of (b : body) : N * N :=
  match b with
  | BMemory _ _ next end_ _ => (next, end_)
  | BRegion first pages _ false _ None => (first, first + pages)
  | _ => (0, 0)
  end.
Definition inside (p : N) (r : N * N) : bool := (fst r <=? p) && (p <? snd r).
Definition overlap (r q : N * N) : bool := (N.max (fst r) (fst q)) <? (N.min (snd r) (snd q)).
Definition claims (o : object) (p : N) : bool := inside p (range_of (o_body o)).

Definition thread0 := MkThread Inactive 0 false false false 0 0 0 0 None None (0, 0, 0) (repeat 0 18).
Definition thr (t : N) (s : state) : thread := match get t (threads s) with Some v => v | None => thread0 end.
Definition ctx0 := MkContext 0 0 0 0 0 0 0 0 None.
Definition ctx (x : N) (s : state) : context := match get x (contexts s) with Some v => v | None => ctx0 end.
Definition pool_of (m : N) (s : state) : pool := match get m (pools s) with Some v => v | None => Pool [] [] 0 end.
Definition core_of (i : N) (s : state) : core :=
  match get i (cores s) with Some v => v | None => MkCore None 0 None 0 0 end.
Definition pages_of (p : N) (s : state) : tablepages :=
  match get p (spaces s) with Some v => v | None => TablePages 0 [] [] end.
Definition portal_of (p : N) (s : state) : portal :=
  match get p (portals s) with Some v => v | None => MkPortal 0 false end.
Definition bits_of (n : N) (s : state) : N := match get n (bits s) with Some v => v | None => 0 end.

(** Reverse directions. *)
Definition caller_of (t : N) (s : state) : option N :=
  search (fun _ k => (k_server k =? t) && match k_phase k with Served => true | Queued => false end) (calls s).
Definition callee_of (t : N) (s : state) : option N := option_map k_server (get t (calls s)).
Definition own_of (t : N) (s : state) : option N := search (fun _ h => h =? t) (homes s).
Definition note_of (t : N) (s : state) : option N := search (fun _ w => w =? t) (bound s).

(** A context's stack: who holds it, then who lent it, the last lender first; its own thread is last. *)
Definition stack_of (x : N) (s : state) : list N := match get x (stacks s) with Some l => l | None => [] end.
Definition holder_of (x : N) (s : state) : option N := hd_error (stack_of x s).
Definition held_by (t : N) (s : state) : option N :=
  search (fun _ l => match l with h :: _ => h =? t | [] => false end) (stacks s).
Definition in_some_stack (t : N) (s : state) : bool := any (fun _ l => existsb (N.eqb t) l) (stacks s).
Definition lent_by (t : N) (s : state) : option N :=
  search (fun _ l => match l with _ :: lenders => existsb (N.eqb t) lenders | [] => false end) (stacks s).
