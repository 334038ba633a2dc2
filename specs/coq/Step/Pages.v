(** Pages of a Memory: what can be had, what is taken, what is given back ([specs/memory.md], Memory). *)
From Ecusson Require Export Step.Base.

Definition mem_next (m : N) (s : state) : N := match body_of m s with Some (BMemory _ _ n _ _) => n | _ => 0 end.
Definition mem_end (m : N) (s : state) : N := match body_of m s with Some (BMemory _ _ _ e _) => e | _ => 0 end.
Definition between (m : N) (s : state) : N := mem_end m s - mem_next m s.
Definition returned_count (m : N) (s : state) : N := N.of_nat (length (returned (pool_of m s))).
Definition available (m : N) (s : state) : N := between m s + returned_count m s.
Definition has_room (m : N) (s : state) : bool := match roomy (pool_of m s) with [] => false | _ => true end.

Definition usable (m : N) (s : state) : res unit := ensure (sweep (pool_of m s) =? 0) BadState 0.

(** Room for so many pages and, where [small], one small object. *)
Definition afford (m pages : N) (small : bool) (s : state) : res unit :=
  let missing := pages + (if small && negb (has_room m s) then 1 else 0) - available m s in
  ensure (missing =? 0) NoMemory missing.
Definition afford_run (m pages : N) (s : state) : res unit :=
  let missing := pages - between m s in ensure (missing =? 0) NoMemory missing.

(** A run from the upper end that leaves room for the object that names it. *)
Definition upper_run (m pages align : N) (s : state) : option N :=
  if mem_end m s <? pages then None
  else let first := N.shiftl (N.shiftr (mem_end m s - pages) align) align in
       if mem_next m s <=? first then Some first else None.
Definition run_beside_object (m pages align arg : N) (s : state) : res N :=
  if (pages =? 0) || (MAX_REGION_PAGES <? pages) then Err BadArg arg
  else u <- afford m 0 true s;;
       let reserve := if negb (has_room m s) && (returned_count m s =? 0) then 1 else 0 in
       match upper_run m pages align s with
       | Some first => if reserve <=? first - mem_next m s then Ok first
                       else Err NoMemory (N.max 1 (pages + reserve - between m s))
       | None => Err NoMemory (N.max 1 (pages + reserve - between m s))
       end.

Definition take_page (m : N) (f : frame) (s : state) : option (N * state) :=
  let p := pool_of m s in
  match returned p with
  | page :: rest => Some (page, set_pool m (Pool rest (roomy p) (sweep p)) (retag page f s))
  | [] => if 0 <? between m s then Some (mem_next m s, take_next m f s) else None
  end.
Lemma take_page_prims A m f s p t : take_page m f s = Some (p, t) -> prims A s t.
Proof.
  unfold take_page. destruct (returned _); [destruct (0 <? _)|]; intros [= <- <-] || discriminate; peel.
Qed.
#[global] Hint Resolve take_page_prims : prims.

(** Index of the lowest bit that is not set. *)
Fixpoint low_zero (fuel : nat) (i used : N) : N :=
  match fuel with O => i | S n => if N.testbit used i then low_zero n (N.succ i) used else i end.
Definition full (s : state) : N := N.pred (N.shiftl 1 (small_objects (cfg s))).
Definition small_used (p : N) (s : state) : N := match get p (frames s) with Some (FSmall _ u) => u | _ => 0 end.
Definition small_owner (p : N) (s : state) : N := match get p (frames s) with Some (FSmall o _) => o | _ => 0 end.

Definition roomy_page (m : N) (s : state) : option (N * state) :=
  match roomy (pool_of m s) with
  | page :: _ => Some (page, s)
  | [] => match take_page m (FSmall m 0) s with
          | Some (page, t) => Some (page, set_pool m (Pool (returned (pool_of m t)) [page] (sweep (pool_of m t))) t)
          | None => None
          end
  end.
Lemma roomy_page_prims A m s p t : roomy_page m s = Some (p, t) -> prims A s t.
Proof.
  unfold roomy_page. destruct (roomy _); [destruct (take_page _ _ _) as [[q u]|] eqn:E|]; intros [= <- <-] || discriminate; peel.
Qed.
#[global] Hint Resolve roomy_page_prims : prims.

Definition drop_full (m p : N) (s : state) : state :=
  if small_used p s =? full s
  then set_pool m (Pool (returned (pool_of m s)) (tl (roomy (pool_of m s))) (sweep (pool_of m s))) s else s.
(** Room for a small object: its address. *)
Definition take_small (m : N) (s : state) : option (N * state) :=
  match roomy_page m s with
  | Some (page, t) =>
      let i := low_zero 32 0 (small_used page t) in
      Some (page * PAGE_BYTES + i * SMALL_BYTES,
            drop_full m page (retag page (FSmall (small_owner page t) (N.lor (small_used page t) (N.shiftl 1 i))) t))
  | None => None
  end.
Lemma drop_full_prims A m p s : prims A s (drop_full m p s).
Proof. unfold drop_full. peel. Qed.
#[global] Hint Resolve drop_full_prims : prims.
Lemma take_small_prims A m s a t : take_small m s = Some (a, t) -> prims A s t.
Proof. unfold take_small. destruct (roomy_page _ _) as [[q u]|] eqn:E; intros [= <- <-] || discriminate. peel. Qed.
#[global] Hint Resolve take_small_prims : prims.

Definition lives (m : N) (s : state) : bool := is_kind Memory m s && alive m s.
Definition give_page (m page : N) (s : state) : state :=
  if lives m s
  then set_pool m (Pool (page :: returned (pool_of m s)) (roomy (pool_of m s)) (sweep (pool_of m s))) (retag page (FReturned m) s)
  else untag page s.
Lemma give_page_prims A m p s : prims A s (give_page m p s).
Proof. unfold give_page. peel. Qed.
#[global] Hint Resolve give_page_prims : prims.

(** The room of a small object that has ended. *)
Definition give_small (a : N) (s : state) : state :=
  let page := page_of a in
  let used := small_used page s in
  let o := small_owner page s in
  let t := retag page (FSmall o (N.ldiff used (N.shiftl 1 ((a - page * PAGE_BYTES) / SMALL_BYTES)))) s in
  if (used =? full s) && lives o s
  then set_pool o (Pool (returned (pool_of o t)) (page :: roomy (pool_of o t)) (sweep (pool_of o t))) t
  else t.
Lemma give_small_prims A a s : prims A s (give_small a s).
Proof. unfold give_small. peel. Qed.
#[global] Hint Resolve give_small_prims : prims.

(** Removes a small object; nothing happens while something names it. *)
Definition end_small (a : N) (s : state) : state :=
  let t := remove_object a s in if has_obj a t then t else give_small a t.
Lemma end_small_prims A a s : prims A s (end_small a s).
Proof. unfold end_small. peel. Qed.
#[global] Hint Resolve end_small_prims : prims.
