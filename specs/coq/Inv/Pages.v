(** Pages: each has one use (property 6); slices lie within their parents; devices are no RAM. *)
From Ecusson Require Export Inv.Tactics.

Definition is_ram (p : N) (s : state) : bool := is_reserved p 1 s.
Definition claimed_by (p : N) (b : body) : Prop := inside p (range_of b) = true.

Record pages_ok (s : state) : Prop := {
  (** No object claims a page that has a use of its own: a kernel object, a page table, a page given back. *)
  g_tags : forall p f a b, get p (frames s) = Some f -> body_of a s = Some b -> ~ claimed_by p b;
  (** No two objects claim the same page. *)
  g_once : forall a b x y p, body_of a s = Some x -> body_of b s = Some y -> claimed_by p x -> claimed_by p y -> a = b;
  g_memory : forall a f n next end_ primal, body_of a s = Some (BMemory f n next end_ primal) -> f <= next /\ end_ <= f + n;
  g_placed : forall a b, body_of a s = Some b -> placed a (body_kind b) s = true;
  g_ram_tags : forall p f, get p (frames s) = Some f -> is_ram p s = true;
  g_ram_memory : forall a f n next end_ primal p, body_of a s = Some (BMemory f n next end_ primal) -> f <= p < f + n -> is_ram p s = true;
  g_device : forall a f n max depth up p, body_of a s = Some (BRegion f n max true depth up) -> f <= p < f + n -> is_ram p s = false;
  g_slice : forall a f n max device depth p, body_of a s = Some (BRegion f n max device depth (Some p)) ->
    exists f' n' max' depth' up, body_of p s = Some (BRegion f' n' max' device depth' up)
      /\ depth = N.succ depth' /\ f' <= f /\ f + n <= f' + n' /\ subset (N.land max ACCESS) (N.land max' ACCESS)
}.

Lemma inside_spec p r : inside p r = true <-> fst r <= p < snd r.
Proof. unfold inside. rewrite andb_true_iff, N.leb_le, N.ltb_lt. easy. Qed.
Lemma unreserved first n s p : is_reserved first n s = false -> first <= p < first + n -> is_ram p s = false.
Proof.
  unfold is_ram, is_reserved. intros H L. destruct (existsb (fun r => (fst r <? p + 1) && _) _) eqn:E; [|reflexivity].
  apply existsb_exists in E. destruct E as ([q m] & I & E). ands. cbn in *.
  assert (existsb (fun r => (fst r <? first + n) && (first <? fst r + snd r)) (ram (cfg s)) = true) as T; [|congruence].
  apply existsb_exists. exists (q, m). split; [exact I|]. cbn. apply andb_true_iff. rewrite !N.ltb_lt. lia.
Qed.

Lemma body_of_add x a b d i r s : body_of x (add_object a b d i r s) = if x =? a then Some b else body_of x s.
Proof. unfold body_of, add_object. fields. rewrite get_set. now destruct (x =? a). Qed.
Lemma body_of_set x a b s : body_of a s <> None -> body_of x (set_body a b s) = if x =? a then Some b else body_of x s.
Proof.
  unfold body_of, set_body. destruct (get a (objs s)) as [o|] eqn:E; cbn; [|congruence]. intros _. fields. rewrite get_set.
  now destruct (x =? a).
Qed.
Lemma frames_set_body a b s : frames (set_body a b s) = frames s /\ cfg (set_body a b s) = cfg s.
Proof. unfold set_body. now destruct (get a (objs s)). Qed.

Lemma pages_same s t : frames t = frames s -> cfg t = cfg s -> (forall a, body_of a t = body_of a s) -> pages_ok s -> pages_ok t.
Proof.
  intros F C B [P1 P2 P3 P4 P5 P6 P7 P8]. unfold placed, is_ram, is_reserved in *.
  split; unfold placed, is_ram, is_reserved; rewrite ?F, ?C; intros *; rewrite ?B; eauto.
Qed.

Definition fresh_run (b : body) (s : state) : Prop := forall p, claimed_by p b ->
  get p (frames s) = None /\ forall a x, body_of a s = Some x -> ~ claimed_by p x.
Definition body_fits (b : body) (s : state) : Prop :=
  match b with
  | BMemory f n next end_ _ => f <= next /\ end_ <= f + n /\ forall p, f <= p < f + n -> is_ram p s = true
  | BRegion f n max device depth up =>
      (device = true -> forall p, f <= p < f + n -> is_ram p s = false)
      /\ match up with
         | None => True
         | Some p => exists f' n' max' depth' up', body_of p s = Some (BRegion f' n' max' device depth' up')
             /\ depth = N.succ depth' /\ f' <= f /\ f + n <= f' + n' /\ subset (N.land max ACCESS) (N.land max' ACCESS)
         end
  | _ => True
  end.

Lemma pages_add a b d i r s :
  pages_ok s -> has_obj a s = false -> placed a (body_kind b) s = true -> fresh_run b s -> body_fits b s ->
  pages_ok (add_object a b d i r s).
Proof.
  intros [P1 P2 P3 P4 P5 P6 P7 P8] H L R F.
  assert (body_of a s = None) as N by (unfold body_of; now rewrite has_obj_false).
  assert (frames (add_object a b d i r s) = frames s) as Fr by reflexivity.
  assert (cfg (add_object a b d i r s) = cfg s) as Co by reflexivity.
  unfold is_ram, is_reserved, placed in *.
  split; unfold is_ram, is_reserved, placed; rewrite ?Fr, ?Co; intros *; rewrite ?body_of_add.
  - intro G. destruct (a0 =? a); [intros [= <-] C|eauto]. destruct (R _ C) as [E _]. congruence.
  - destruct (N.eqb_spec a0 a) as [->|], (N.eqb_spec b0 a) as [->|]; try reflexivity.
    + intros [= <-] Y C D. destruct (R _ C) as [_ E]. exfalso. eapply E; eauto.
    + intros Y [= <-] C D. destruct (R _ D) as [_ E]. exfalso. eapply E; eauto.
    + apply P2.
  - destruct (a0 =? a); [intros [= ->]; cbn in F; tauto|apply P3].
  - destruct (N.eqb_spec a0 a) as [->|]; [intros [= <-]; exact L|apply P4].
  - apply P5.
  - destruct (a0 =? a); [intros [= ->]; cbn in F; apply F|apply P6].
  - destruct (a0 =? a); [intros [= ->]; cbn in F; now apply F|apply P7].
  - assert (forall q x, body_of q s = Some x -> (if q =? a then Some b else body_of q s) = Some x) as Keep.
    { intros q x Q. destruct (N.eqb_spec q a) as [->|]; [congruence|exact Q]. }
    destruct (a0 =? a); intro E.
    + injection E as ->. cbn in F. destruct F as [_ (f' & n' & m' & d' & up & B & K)]. exists f', n', m', d', up. split; [|exact K].
      auto.
    + destruct (P8 _ _ _ _ _ _ _ E) as (f' & n' & m' & d' & up & B & K). exists f', n', m', d', up. split; [|exact K].
      auto.
Qed.

(** A Memory's unused pages become fewer. *)
Lemma pages_shrink m f n next end_ next' end' primal s :
  pages_ok s -> body_of m s = Some (BMemory f n next end_ primal) -> next <= next' -> end' <= end_ ->
  pages_ok (set_body m (BMemory f n next' end' primal) s).
Proof.
  intros [P1 P2 P3 P4 P5 P6 P7 P8] B L M. destruct (frames_set_body m (BMemory f n next' end' primal) s) as [F C].
  assert (forall a, body_of a (set_body m (BMemory f n next' end' primal) s)
    = if a =? m then Some (BMemory f n next' end' primal) else body_of a s) as S by (intro; apply body_of_set; congruence).
  assert (forall p, claimed_by p (BMemory f n next' end' primal) -> claimed_by p (BMemory f n next end_ primal)) as Less.
  { intro p. unfold claimed_by. rewrite !inside_spec. cbn. lia. }
  destruct (P3 _ _ _ _ _ _ B) as [I J].
  split; unfold is_ram, is_reserved, placed in *; rewrite ?F, ?C; intros *; rewrite ?S.
  - intro G. destruct (N.eqb_spec a m) as [->|]; [intros [= <-] K; eapply P1; eauto|eauto].
  - destruct (N.eqb_spec a m) as [->|], (N.eqb_spec b m) as [->|]; try reflexivity.
    + intros [= <-] Y K D. eapply P2; eauto.
    + intros X [= <-] K D. eapply P2; eauto.
    + apply P2.
  - destruct (N.eqb_spec a m) as [->|]; [intros [= <- <- <- <- <-]; lia|apply P3].
  - destruct (N.eqb_spec a m) as [->|]; [intros [= <-]; apply (P4 _ _ B)|apply P4].
  - apply P5.
  - destruct (N.eqb_spec a m) as [->|]; [intros [= <- <- <- <- <-]; eapply P6; eauto|apply P6].
  - destruct (N.eqb_spec a m) as [->|]; [discriminate|apply P7].
  - destruct (N.eqb_spec a m) as [->|]; [discriminate|]. intro E.
    destruct (P8 _ _ _ _ _ _ _ E) as (f' & n' & m' & d' & up & Q & K). exists f', n', m', d', up. split; [|exact K].
    destruct (N.eqb_spec p m) as [->|]; [congruence|exact Q].
Qed.

Lemma pages_upper u m first n a d i s : pages_ok s -> pages_ok (new_upper u m first n a d i s).
Proof.
  intro P. unfold new_upper. destruct (body_of m s) as [[f p next end_ primal| | | | | | | |]|] eqn:B; try exact P.
  destruct (_ && _) eqn:G; [|exact P]. unfold can_add in G. ands.
  assert (pages_ok (set_body m (BMemory f p next first primal) s)) as Q by (eapply pages_shrink; eauto; lia).
  destruct (frames_set_body m (BMemory f p next first primal) s) as [F C]. pose proof P as [P1 P2 P3 P4 P5 P6 P7 P8].
  destruct (P3 _ _ _ _ _ _ B) as [I J].
  assert (forall q, claimed_by q (upper_body u first n) -> first <= q < first + n) as In.
  { intro q. unfold claimed_by. rewrite inside_spec. now destruct u. }
  assert (forall q, first <= q < first + n -> claimed_by q (BMemory f p next end_ primal)) as Was.
  { intros q L. unfold claimed_by. apply inside_spec. cbn. lia. }
  apply pages_add; auto.
  - unfold has_obj, set_body. destruct (get m (objs s)); fields; [|assumption]. unfold has. rewrite get_set.
    destruct (N.eqb_spec a m); [congruence|]. assumption.
  - unfold placed. rewrite F. now destruct u.
  - intros q L. apply In in L. split.
    + rewrite F. destruct (get q (frames s)) eqn:E; [|reflexivity]. exfalso. eapply P1; eauto.
    + intros x y. rewrite body_of_set by congruence. destruct (N.eqb_spec x m) as [->|ne].
      * intros [= <-]. unfold claimed_by. rewrite inside_spec. cbn. lia.
      * intros X K. apply ne. eapply P2; eauto.
  - assert (forall q, first <= q < first + n -> is_ram q s = true) as Ram by (intros; eapply P6; eauto; lia).
    destruct u; cbn; unfold is_ram, is_reserved in *; rewrite ?C; repeat split; auto; try lia.
Qed.

Lemma pages_take_next m f s : pages_ok s -> pages_ok (take_next m f s).
Proof.
  intro P. unfold take_next. destruct (body_of m s) as [[fi n next end_ primal| | | | | | | |]|] eqn:B; try exact P.
  destruct (next <? end_) eqn:G; [|exact P]. ands.
  set (u := set_body m (BMemory fi n (N.succ next) end_ primal) s).
  assert (pages_ok u) as Q by (eapply pages_shrink; eauto; lia).
  destruct (frames_set_body m (BMemory fi n (N.succ next) end_ primal) s) as [F C]. fold u in F, C.
  pose proof P as [P1 P2 P3 P4 P5 P6 P7 P8]. destruct (P3 _ _ _ _ _ _ B) as [I J].
  assert (claimed_by next (BMemory fi n next end_ primal)) as Was by (unfold claimed_by; apply inside_spec; cbn; lia).
  assert (forall x y, body_of x u = Some y -> ~ claimed_by next y) as Free.
  { intros x y. unfold u. rewrite body_of_set by congruence. destruct (N.eqb_spec x m) as [->|ne].
    - intros [= <-]. unfold claimed_by. rewrite inside_spec. cbn. lia.
    - intros X K. apply ne. eapply P2; eauto. }
  destruct Q as [Q1 Q2 Q3 Q4 Q5 Q6 Q7 Q8]. unfold is_ram, is_reserved, placed in *.
  split; unfold is_ram, is_reserved, placed, body_of in *; fields; eauto.
  - intros p f' a b. rewrite get_set. rewrite F in Q1. destruct (N.eqb_spec p next) as [->|]; eauto.
  - intros a b K. rewrite get_set. specialize (Q4 a b K). destruct (N.eqb_spec (page_of a) next) as [E|]; [|now rewrite <- F].
    rewrite F, E in Q4. destruct (get next (frames s)) eqn:T; [|discriminate]. exfalso. eapply P1; eauto.
  - intros p f'. rewrite get_set. rewrite F in Q5. destruct (N.eqb_spec p next) as [->|]; [|apply Q5]. intros _.
    rewrite C in *. eapply P6; eauto. lia.
Qed.

Lemma bare_page p s a b : is_bare p s = true -> body_of a s = Some b -> page_of a <> p.
Proof.
  intros H B E. unfold is_bare in H. apply negb_true_iff in H. apply body_of_get in B. destruct B as (o & G & _).
  pose proof (any_false _ _ _ _ H G) as F. cbn in F. now rewrite E, N.eqb_refl in F.
Qed.
Lemma fits_small k f g : is_small f = true -> is_small g = true -> fits k f = fits k g.
Proof. now destruct f, g, k. Qed.

Lemma pages_retag p f s : pages_ok s -> pages_ok (retag p f s).
Proof.
  intros [P1 P2 P3 P4 P5 P6 P7 P8]. unfold retag. destruct (get p (frames s)) as [old|] eqn:G; [|now split].
  destruct (_ || _) eqn:E; [|now split]. unfold is_ram, is_reserved, placed in *.
  split; unfold is_ram, is_reserved, placed, body_of in *; fields; eauto.
  - intros q f' a b. rewrite get_set. destruct (N.eqb_spec q p) as [->|]; eauto.
  - intros a b K. specialize (P4 a b K). rewrite get_set. destruct (N.eqb_spec (page_of a) p) as [Q|]; [|exact P4].
    rewrite Q, G in P4. apply orb_true_iff in E. destruct E as [E|E].
    + exfalso. eapply bare_page; eauto.
    + ands. now rewrite (fits_small _ f old).
  - intros q f'. rewrite get_set. destruct (N.eqb_spec q p) as [->|]; eauto.
Qed.

Lemma pages_untag p s : pages_ok s -> pages_ok (untag p s).
Proof.
  intros [P1 P2 P3 P4 P5 P6 P7 P8]. unfold untag. destruct (is_bare p s) eqn:E; [|now split]. unfold is_ram, is_reserved, placed in *.
  split; unfold is_ram, is_reserved, placed, body_of in *; fields; eauto.
  - intros q f' a b. rewrite get_del. destruct (q =? p); [discriminate|eauto].
  - intros a b K. specialize (P4 a b K). rewrite get_del. destruct (N.eqb_spec (page_of a) p) as [Q|]; [|exact P4].
    exfalso. eapply bare_page; eauto.
  - intros q f'. rewrite get_del. destruct (q =? p); [discriminate|eauto].
Qed.

Lemma pages_refill m s : pages_ok s -> pages_ok (refill m s).
Proof.
  intro P. pose proof P as [P1 P2 P3 P4 P5 P6 P7 P8]. unfold refill.
  destruct (body_of m s) as [[f n next end_ primal| | | | | | | |]|] eqn:B; try exact P.
  destruct (is_claimed f n m s) eqn:E; [exact P|]. unfold is_claimed in E. ands.
  destruct (frames_set_body m (BMemory f n f (f + n) primal) s) as [F C].
  assert (forall a, body_of a (set_body m (BMemory f n f (f + n) primal) s)
    = if a =? m then Some (BMemory f n f (f + n) primal) else body_of a s) as S by (intro; apply body_of_set; congruence).
  assert (forall p, claimed_by p (BMemory f n f (f + n) primal) -> f <= p < f + n) as In.
  { intro p. unfold claimed_by. now rewrite inside_spec. }
  assert (forall p g, get p (frames s) = Some g -> ~ (f <= p < f + n)) as NoTag.
  { intros p g G L. pose proof (any_false _ _ _ _ H G) as T. cbn in T. apply andb_false_iff in T.
    rewrite N.leb_nle, N.ltb_nlt in T. lia. }
  assert (forall a x p, a <> m -> body_of a s = Some x -> claimed_by p x -> ~ (f <= p < f + n)) as NoClaim.
  { intros a x p ne X K L. apply body_of_get in X. destruct X as (o & G & <-). pose proof (any_false _ _ _ _ H0 G) as T. cbn in T.
    apply andb_false_iff in T. rewrite negb_false_iff, N.eqb_eq in T. destruct T as [T|T]; [congruence|].
    unfold claimed_by in K. rewrite inside_spec in K. unfold overlap in T. rewrite N.ltb_nlt in T. cbn in T. lia. }
  split; unfold is_ram, is_reserved, placed in *; rewrite ?F, ?C; intros *; rewrite ?S.
  - intro G. destruct (N.eqb_spec a m) as [->|]; [intros [= <-] K; apply In in K; eapply NoTag; eauto|eauto].
  - destruct (N.eqb_spec a m) as [->|], (N.eqb_spec b m) as [->|]; try reflexivity.
    + intros [= <-] Y K D. exfalso. apply In in K. eapply NoClaim; eauto.
    + intros X [= <-] K D. exfalso. apply In in D. eapply NoClaim; eauto.
    + apply P2.
  - destruct (N.eqb_spec a m) as [->|]; [intros [= <- <- <- <- <-]; lia|apply P3].
  - destruct (N.eqb_spec a m) as [->|]; [intros [= <-]; apply (P4 _ _ B)|apply P4].
  - apply P5.
  - destruct (N.eqb_spec a m) as [->|]; [intros [= <- <- <- <- <-]; eapply P6; eauto|apply P6].
  - destruct (N.eqb_spec a m) as [->|]; [discriminate|apply P7].
  - destruct (N.eqb_spec a m) as [->|]; [discriminate|]. intro K.
    destruct (P8 _ _ _ _ _ _ _ K) as (f' & n' & m' & d' & up & Q & K'). exists f', n', m', d', up. split; [|exact K'].
    destruct (N.eqb_spec p m) as [->|]; [congruence|exact Q].
Qed.

Lemma pages_remove a s : pages_ok s -> pages_ok (remove_object a s).
Proof.
  intro P. pose proof P as [P1 P2 P3 P4 P5 P6 P7 P8]. unfold remove_object.
  destruct (get a (objs s)) as [o|] eqn:G; [|exact P]. destruct (_ && _) eqn:E; [|exact P]. ands.
  set (t := with_objs _ _).
  assert (forall x, body_of x t = if x =? a then None else body_of x s) as S.
  { intro x. unfold body_of, t, forget. fields. rewrite get_del. now destruct (x =? a). }
  assert (frames t = frames s) as F by reflexivity. assert (cfg t = cfg s) as C by reflexivity.
  clearbody t. split; unfold is_ram, is_reserved, placed in *; rewrite ?F, ?C; intros *; rewrite ?S.
  all: try (destruct (_ =? a); [discriminate|]); eauto.
  - destruct (_ =? a); [discriminate|]. eauto.
  - intro K. destruct (P8 _ _ _ _ _ _ _ K) as (f' & n' & m' & d' & up & Q & K'). exists f', n', m', d', up. split; [|exact K'].
    destruct (N.eqb_spec p a) as [->|]; [|exact Q]. exfalso. unfold is_linked in *. ands.
    apply body_of_get in K. destruct K as (o' & G' & B').
    match goal with H : any (fun _ o => body_names a (o_body o)) (objs s) = false |- _ =>
      pose proof (any_false _ _ _ _ H G') as T end. cbn in T. rewrite B' in T. cbn in T. now rewrite N.eqb_refl in T.
Qed.

Theorem prim_pages_ok l s t : prim l s t -> pages_ok s -> pages_ok t.
Proof.
  intros p P. destruct p;
    try (open_prims; split_guards; first [exact P | apply (pages_same s); auto; fail]; fail);
    auto using pages_upper, pages_take_next, pages_retag, pages_untag, pages_refill, pages_remove.
  - unfold new_simple. destruct (_ && _) eqn:G; [|exact P]. unfold can_add in G. ands.
    apply pages_add; auto; destruct b; try discriminate; try (intros q; unfold claimed_by; rewrite inside_spec; cbn; lia); exact I.
  - unfold new_slice. destruct (body_of parent s) as [[|f n max device depth up| | | | | | |]|] eqn:B; try exact P.
    destruct (_ && _) eqn:G; [|exact P]. unfold can_add in G. ands. apply pages_add; auto.
    + intros q. unfold claimed_by. rewrite inside_spec. destruct device; cbn; lia.
    + cbn. split.
      * intros -> q L. destruct P. eapply g_device0; [exact B|lia].
      * exists f, n, max, depth, up. repeat split; auto; try lia. now apply holds_subset.
  - unfold new_device. destruct (_ && _) eqn:G; [|exact P]. unfold can_add in G. ands. apply pages_add; auto.
    + intros q. unfold claimed_by. rewrite inside_spec. cbn. lia.
    + cbn. split; [|exact I]. intros _ q L. eapply unreserved; eauto.
  - unfold condemn. destruct (get a (objs s)) as [o|] eqn:G; [|exact P]. apply (pages_same s); auto. intro x.
    unfold body_of. fields. rewrite get_set. destruct (N.eqb_spec x a) as [->|]; [now rewrite G|reflexivity].
Qed.

(** What a Region's pages are: a device's, or pages that a root Region claims. *)
Theorem region_pages s r f n max device depth up p : pages_ok s -> body_of r s = Some (BRegion f n max device depth up) -> f <= p < f + n ->
  is_ram p s = false \/ exists a b, body_of a s = Some b /\ body_kind b = Region /\ claimed_by p b.
Proof.
  intro P. revert r f n max up. induction depth as [|d IH] using N.peano_ind; intros r f n max up B L;
    (destruct up as [u|]; [destruct (g_slice s P _ _ _ _ _ _ _ B) as (f' & n' & max' & depth' & up & Q & E & L1 & L2 & _)|]).
  - exfalso. lia.
  - destruct device; [left; eapply (g_device s P); eauto|right].
    exists r, (BRegion f n max false 0 None). repeat split; [exact B|]. unfold claimed_by. apply inside_spec. cbn. lia.
  - apply N.succ_inj in E. subst depth'. apply (IH _ _ _ _ _ Q). lia.
  - destruct device; [left; eapply (g_device s P); eauto|right].
    exists r, (BRegion f n max false (N.succ d) None). repeat split; [exact B|]. unfold claimed_by. apply inside_spec. cbn. lia.
Qed.
