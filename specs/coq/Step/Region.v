(** Regions and spaces: slices, attachments, page tables ([specs/memory.md]). Tables are modelled by which of them exist, so that
    [NoMemory] says the right number; translations page by page. *)
From Ecusson Require Export Step.Ipc.

Definition reg_first (r : N) (s : state) : N := match body_of r s with Some (BRegion f _ _ _ _ _) => f | _ => 0 end.
Definition reg_pages (r : N) (s : state) : N := match body_of r s with Some (BRegion _ p _ _ _ _) => p | _ => 0 end.
Definition reg_max (r : N) (s : state) : rights := match body_of r s with Some (BRegion _ _ m _ _ _) => m | _ => 0 end.
Definition reg_device (r : N) (s : state) : bool := match body_of r s with Some (BRegion _ _ _ d _ _) => d | _ => false end.
Definition reg_depth (r : N) (s : state) : N := match body_of r s with Some (BRegion _ _ _ _ d _) => d | _ => 0 end.
(** Pages known to be zeroed, kept with the Region's page lists: [sweep] of its pool. *)
Definition scrubbed (r : N) (s : state) : N := sweep (pool_of r s).
Definition set_scrubbed (r n : N) (s : state) : state := set_pool r (Pool [] [] n) s.

Definition att_of (r : N) (s : state) : att :=
  match get r (atts s) with Some a => a | None => Att 0 0 0 0 0 0 end.
Definition is_attached (r : N) (s : state) : bool := has r (atts s).
Definition is_dma (sp : N) (s : state) : bool := match body_of sp s with Some (BSpace d _) => d | _ => false end.

(** ** Page tables *)

(** A table of a level covers pages that agree above [table_bits * (level + 1)]; a large page is an entry of level 1. *)
Definition table_key (level page : N) (s : state) : N :=
  N.shiftl (N.succ level) 56 + N.shiftr page (table_bits (cfg s) * N.succ level).
Definition large_key (index : N) : N := N.shiftl 128 56 + index.
Definition has_table (sp level page : N) (s : state) : bool :=
  match get2 sp (table_key level page s) (tables s) with Some _ => true | None => false end.
Definition has_large (sp index : N) (s : state) : bool :=
  match get2 sp (large_key index) (tables s) with Some _ => true | None => false end.
Definition pages_at (level : N) (s : state) : N := N.shiftl 1 (table_bits (cfg s) * level).
Definition space_pages (s : state) : N := N.min USER_PAGES (pages_at (table_levels (cfg s)) s / 2).

Fixpoint walk (fuel : nat) (sp page level target : N) (s : state) : N :=
  match fuel with
  | O => level
  | S n => if (target <? level) && has_table sp (N.pred level) page s then walk n sp page (N.pred level) target s else level
  end.
Definition walk_from_root (sp page target : N) (s : state) : N :=
  walk (N.to_nat (table_levels (cfg s))) sp page (N.pred (table_levels (cfg s))) target s.

Definition mapping_level (virtual frame left : N) (s : state) : N :=
  let large := pages_at 1 s in
  if (2 <? table_levels (cfg s)) && (virtual mod large =? 0) && (frame mod large =? 0) && (large <=? left) then 1 else 0.
Definition is_present (sp level index : N) (s : state) : bool :=
  if level =? 0 then match get2 sp index (ptes s) with Some _ => true | None => false end
  else has_large sp index s || has_table sp 0 (N.shiftl index (table_bits (cfg s))) s.
Fixpoint free_run (fuel : nat) (sp level index : N) (s : state) : N :=
  match fuel with
  | O => 0
  | S n => if is_present sp level index s then 0 else N.succ (free_run n sp level (N.succ index) s)
  end.
(** Entries of a table that can be filled. *)
Definition free_entries (sp walked level virtual left : N) (s : state) : res N :=
  let first := N.shiftr virtual (table_bits (cfg s) * level) in
  let fitting := N.min (left / pages_at level s) (pages_at 1 s - first mod pages_at 1 s) in
  if level <? walked then Ok fitting
  else let free := free_run (N.to_nat fitting) sp level first s in
       if free =? fitting then Ok fitting
       else if (0 <? level) && (0 <? free) then Ok free else Err Occupied 2.

(** What one step of mapping does: the level, the missing tables, the entries. *)
Definition plan_map (sp virtual frame left : N) (s : state) : res (N * N * N) :=
  let level := mapping_level virtual frame left s in
  let walked := walk_from_root sp virtual level s in
  if (level <? walked) && (walked =? 1) && has_large sp (N.shiftr virtual (table_bits (cfg s))) s then Err Occupied 2
  else
    let is_split := (walked =? 1) && (level =? 1) && has_table sp 0 virtual s in
    let level := if is_split then 0 else level in
    let walked := if is_split then walk_from_root sp virtual 0 s else walked in
    let short := (walked - level) - N.of_nat (length (t_unused (pages_of sp s))) in
    u <- ensure (short =? 0) NoMemory short;;
    count <- free_entries sp walked level virtual left s;;
    Ok (level, walked, count).

Definition take_table (sp level page : N) (s : state) : state :=
  match pages_of sp s with
  | TablePages root used (p :: rest) => set_table sp (table_key level page s) 1 (set_pages sp (TablePages root (p :: used) rest) s)
  | _ => s
  end.
Fixpoint take_tables (fuel : nat) (sp walked level page : N) (s : state) : state :=
  match fuel with
  | O => s
  | S n => if level <? walked then take_tables n sp (N.pred walked) level page (take_table sp (N.pred walked) page s) else s
  end.
Definition set_large (sp first : N) (s : state) (i : N) : state := set_table sp (large_key (first + i)) 1 s.
Definition unset_large (sp first : N) (s : state) (i : N) : state := unset_table sp (large_key (first + i)) s.

Lemma take_tables_prims A n sp w l p s : prims A s (take_tables n sp w l p s).
Proof.
  revert w s. induction n; intros w s; cbn [take_tables]; [constructor|]. destruct (l <? w); [|constructor].
  eapply prims_trans; [|apply IHn]. unfold take_table. peel.
Qed.
#[global] Hint Resolve take_tables_prims : prims.
Lemma fold_prims A {B} (f : state -> B -> state) l s : (forall s b, prims A s (f s b)) -> prims A s (fold_left f l s).
Proof. intro H. revert s. induction l; intro s; cbn; [constructor|]. eapply prims_trans; [apply H|apply IHl]. Qed.
Lemma set_large_prims A sp f s l : prims A s (fold_left (set_large sp f) l s).
Proof. apply fold_prims. intros. unfold set_large. peel. Qed.
Lemma unset_large_prims A sp f s l : prims A s (fold_left (unset_large sp f) l s).
Proof. apply fold_prims. intros. unfold unset_large. peel. Qed.
#[global] Hint Resolve set_large_prims unset_large_prims : prims.

Definition commit_map (r sp virtual level walked count : N) (s : state) : state :=
  let t := take_tables 8 sp walked level virtual s in
  let u := if level =? 0 then t
           else fold_left (set_large sp (N.shiftr virtual (table_bits (cfg s)))) (upto 0 (N.to_nat count)) t in
  att_map r (count * pages_at level s) u.
Lemma commit_map_prims A r sp v l w c s : prims A s (commit_map r sp v l w c s).
Proof. unfold commit_map. peel. Qed.
#[global] Hint Resolve commit_map_prims : prims.

(** ** Operations *)

Definition access_ok (q : rights) : bool := (q =? READ) || (q =? READ + WRITE) || (q =? READ + EXECUTE).
Definition check_attach (r : N) (held q : rights) (s : state) : res unit :=
  u <- ensure (access_ok q) BadArg 3;;
  u <- ensure (holds held q && holds (reg_max r s) q) NoRight 3;;
  ensure (reg_pages r s <=? scrubbed r s) BadState 0.

Definition attach_dma (r sp : N) (q : rights) (s : state) : outcome :=
  if is_attached r s then Err Occupied 0
  else Ok (RDone (reg_first r s * PAGE_BYTES), att_map r (reg_pages r s) (att_begin r sp (reg_first r s) q s)).
Definition goes_on (r sp page : N) (q : rights) (s : state) : bool :=
  let a := att_of r s in
  (a_space a =? sp) && (a_page a =? page) && (a_rights a =? q) && (a_flush a =? 0) && (a_mapped a <? reg_pages r s).
Definition attach_host (r sp page : N) (q : rights) (s : state) : outcome :=
  if space_pages s <? page + reg_pages r s then Err BadArg 2
  else if is_attached r s && negb (goes_on r sp page q s) then Err Occupied 0
  else
    let done := a_mapped (att_of r s) in
    plan <- plan_map sp (page + done) (reg_first r s + done) (reg_pages r s - done) s;;
    let '(level, walked, count) := plan in
    let t := commit_map r sp (page + done) level walked count (if is_attached r s then s else att_begin r sp page q s) in
    let left := reg_pages r s - a_mapped (att_of r t) in
    Ok (if left =? 0 then RDone 0 else RProgress left, t).
Definition attach (a r : N) (held : rights) (w : list N) (s : state) : outcome :=
  sp <- at_arg 1 (lookup a (word 1 w) Space MANAGE s);;
  let q := N.land (word 3 w) 0xFF in
  u <- check_attach r held q s;;
  if is_dma sp s then attach_dma r sp q s else attach_host r sp (word 2 w) q s.

Definition request_flush (sp : N) (s : state) : state :=
  let g := N.succ (flushes s) in
  let ask (s : state) (i : N) :=
    let c := core_of i s in
    match r_loaded c with
    | Some l => if l =? sp then set_clock i (r_charged c) (r_loaded c) g (r_flushed c) s else s
    | None => s
    end in
  let t := with_flushes g s in
  if t_root (pages_of sp s) =? 0 then t else fold_left ask (upto 0 (N.to_nat (core_count (cfg s)))) t.
Definition is_flushed (g : N) (s : state) : bool :=
  forallb (fun i => N.min (r_wanted (core_of i s)) g <=? r_flushed (core_of i s)) (upto 0 (N.to_nat (core_count (cfg s)))).

Fixpoint larges_down (fuel : nat) (sp index first_index : N) (s : state) : N :=
  match fuel with
  | O => 0
  | S n => if has_large sp index s
           then if (index mod pages_at 1 s =? 0) || (index =? first_index) then 1
                else N.succ (larges_down n sp (N.pred index) first_index s)
           else 0
  end.
(** Unmaps from the last page backwards as much as lies in one table. *)
Definition unmap_step (r : N) (s : state) : state :=
  let a := att_of r s in
  let sp := a_space a in
  let last := N.pred (a_page a + a_mapped a) in
  let g := N.succ (flushes s) in
  if is_dma sp s then att_unmap r (a_mapped a) g s
  else if walk_from_root sp last 0 s =? 0
  then att_unmap r (N.min (N.succ (last mod pages_at 1 s)) (a_mapped a)) g s
  else
    let index := N.shiftr last (table_bits (cfg s)) in
    let count := larges_down (N.to_nat (pages_at 1 s)) sp index (N.shiftr (a_page a) (table_bits (cfg s))) s in
    att_unmap r (count * pages_at 1 s) g
      (fold_left (unset_large sp (N.succ index - count)) (upto 0 (N.to_nat count)) s).
(** One step of taking an attachment back: at most one table's worth of pages, then the flush. *)
Definition detach_step (r : N) (s : state) : state :=
  if negb (is_attached r s) then s
  else if 0 <? a_mapped (att_of r s) then request_flush (a_space (att_of r s)) (unmap_step r s)
  else if is_flushed (a_flush (att_of r s)) s then att_end r s else s.
Lemma request_flush_prims A sp s : prims A s (request_flush sp s).
Proof.
  unfold request_flush. cbv zeta. destruct (_ =? 0); [peel|].
  eapply prims_trans; [|apply fold_prims; intros; peel]. peel.
Qed.
#[global] Hint Resolve request_flush_prims : prims.
Lemma detach_step_prims A r s : prims A s (detach_step r s).
Proof. unfold detach_step, unmap_step. peel. Qed.
#[global] Hint Resolve detach_step_prims : prims.

Lemma attach_prims A a r held w s rep t : attach a r held w s = Ok (rep, t) -> prims A s t.
Proof.
  unfold attach. destruct (at_arg _ _); [|discriminate]. destruct (check_attach _ _ _ _); [|discriminate].
  destruct (is_dma _ _).
  - unfold attach_dma. destruct (is_attached _ _); [discriminate|]. intros [= <- <-]. peel.
  - unfold attach_host. destruct (_ <? _); [discriminate|]. destruct (_ && _); [discriminate|]. cbv zeta.
    destruct (plan_map _ _ _ _ _) as [[[l wk] c]|]; [|discriminate]. intros [= <- <-].
    eapply prims_trans; [|apply commit_map_prims]. peel.
Qed.
#[global] Hint Resolve attach_prims : prims.

Definition scrub (r : N) (s : state) : outcome :=
  let until := N.min (reg_pages r s) (scrubbed r s + SCRUB_PAGES) in
  let left := reg_pages r s - until in
  Ok (if left =? 0 then RDone 0 else RProgress left, set_scrubbed r until s).

(** A Memory and an empty slot, and room in the Memory for a small object. *)
Definition place (a marg mslot sarg slot : N) (s : state) : res N :=
  m <- at_arg marg (lookup a mslot Memory MANAGE s);;
  u <- usable m s;;
  u <- at_arg sarg (empty_slot a slot s);;
  u <- afford m 0 true s;;
  Ok m.
Definition slice_rights (parent : N) (held q : rights) (s : state) : rights :=
  N.lor (N.land (N.land (N.land q 0xFF) (reg_max parent s)) held) (N.land (N.lor MANAGE GRANT) held).

(** Makes a small object by the given change, if there is room. *)
Definition make_small (m : N) (make : N -> state -> state) (s : state) : state :=
  match take_small m s with Some (a, t) => make a t | None => s end.
Definition new_child (parent first pages d i : N) (q : rights) : N -> state -> state := fun a t =>
  set_scrubbed a pages (new_slice parent first pages a d i q t).
Definition slice (a r : N) (held : rights) (w : list N) (s : state) : outcome :=
  let first := word 1 w in
  let pages := word 2 w in
  u <- ensure (first <? reg_pages r s) BadArg 1;;
  u <- ensure (negb (pages =? 0) && (pages <=? reg_pages r s - first)) BadArg 2;;
  u <- ensure (reg_depth r s <? MAX_SLICE_DEPTH) TooDeep 0;;
  u <- ensure (reg_pages r s <=? scrubbed r s) BadState 0;;
  m <- place a 4 (word 4 w) 5 (word 5 w) s;;
  Ok (RDone 0, make_small m (new_child r first pages (domain_of a s) (word 5 w) (slice_rights r held (word 3 w) s)) s).

Definition detach_reply (r : N) (s : state) : reply :=
  if is_attached r s then RProgress (a_mapped (att_of r s)) else RDone 0.
Definition region_op (a r : N) (held : rights) (w : list N) (s : state) : outcome :=
  match word 0 w with
  | 2 => attach a r held w s
  | 5 => u <- require held READ;;
         Ok (RWords (reg_pages r s) [0; a_mapped (att_of r s); a_page (att_of r s); 0; 0; 0], s)
  | 6 | 7 => Err Unsupported 0
  | op => u <- require held MANAGE;;
          match op with
          | 1 => slice a r held w s
          | 3 => Ok (detach_reply r (detach_step r s), detach_step r s)
          | 4 => scrub r s
          | _ => Err BadArg 0
          end
  end.

Definition space_memory (sp : N) (s : state) : N := match body_of sp s with Some (BSpace _ m) => m | _ => 0 end.
Fixpoint fund_pages (fuel : nat) (sp m : N) (s : state) : state :=
  match fuel with
  | O => s
  | S n => match take_page m (FPageTable sp) s with
           | Some (p, t) =>
               let v := pages_of sp t in
               fund_pages n sp m (set_pages sp (TablePages (t_root v) (t_used v) (p :: t_unused v)) t)
           | None => s
           end
  end.
Lemma fund_pages_prims A n sp m s : prims A s (fund_pages n sp m s).
Proof.
  revert s. induction n; intro s; cbn [fund_pages]; [constructor|]. destruct (take_page _ _ _) as [[p t]|] eqn:E; [|constructor].
  eapply prims_trans; [eapply take_page_prims; exact E|]. cbv zeta. eapply prims_trans; [|apply IHn]. peel.
Qed.
#[global] Hint Resolve fund_pages_prims : prims.
Definition unused_tables (sp : N) (s : state) : N := N.of_nat (length (t_unused (pages_of sp s))).
Definition fund (a sp : N) (w : list N) (s : state) : outcome :=
  m <- at_arg 1 (lookup a (word 1 w) Memory MANAGE s);;
  u <- usable m s;;
  u <- ensure ((1 <=? word 2 w) && (word 2 w <=? FUND_PAGES)) BadArg 2;;
  u <- ensure (space_memory sp s =? m) BadState 1;;
  u <- afford m (word 2 w) false s;;
  let t := fund_pages (N.to_nat (word 2 w)) sp m s in
  Ok (RDone (unused_tables sp t), t).
Definition space_op (a sp : N) (held : rights) (w : list N) (s : state) : outcome :=
  match word 0 w with
  | 1 => u <- require held MANAGE;; fund a sp w s
  | 4 => u <- require held READ;; Ok (RDone (unused_tables sp s), s)
  | 2 | 3 => Err Unsupported 0
  | _ => Err BadArg 0
  end.
