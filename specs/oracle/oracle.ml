(* Reads steps, one a line, and prints what the model makes of each. The format is in README.md. *)
open Kernel_model

let number text = Z.of_string text
let show = Z.to_string
let optional text = if text = "-" then None else Some (number text)
let show_option = function None -> "-" | Some n -> show n

let run_name = function
  | Inactive -> "inactive" | Running -> "running" | Ready -> "ready" | Held -> "held"
  | Waiting -> "waiting" | WaitingSignal -> "waiting-signal" | Calling -> "calling"

let by_number list = List.sort (fun (a, _) (b, _) -> Z.compare a b) list
let sorted map = by_number (entries map)

(* An object's kind as the interface numbers it, and what it is. *)
let body = function
  | BMemory (first, pages, next, last, primal) ->
      Printf.sprintf "memory %s %s %s %s %b" (show first) (show pages) (show next) (show last) primal
  | BRegion (first, pages, most, device, depth, parent) ->
      Printf.sprintf "region %s %s %s %b %s %s" (show first) (show pages) (show most) device (show depth) (show_option parent)
  | BSpace (dma, memory) -> Printf.sprintf "space %b %s" dma (show memory)
  | BDomain (pages, space, memory) -> Printf.sprintf "domain %s %s %s" (show pages) (show space) (show memory)
  | BThread domain -> "thread " ^ show domain
  | BContext -> "context" | BPortal -> "portal" | BNotification -> "notification" | BPlatform -> "platform"

let frame = function
  | FSmall (owner, used) -> Printf.sprintf "small %s %s" (show owner) (show used)
  | FThread owner -> "thread " ^ show owner
  | FDomain owner -> "domain " ^ show owner
  | FTable owner -> "table " ^ show owner
  | FPageTable owner -> "page-table " ^ show owner
  | FReturned owner -> "returned " ^ show owner

(* One part of the text of a state. Maps are shared between a state and the next where nothing changed: a part is printed anew only
   if something that it depends on is another value. *)
let part depends_on print =
  let last = ref None in
  fun state ->
    let now = depends_on state in
    match !last with
    | Some (before, text) when List.for_all2 ( == ) before now -> text
    | _ ->
        let out = Buffer.create 1024 in
        print out state;
        let text = Buffer.contents out in
        last := Some (now, text);
        text

let line out format = Printf.ksprintf (fun text -> Buffer.add_string out (text ^ "\n")) format
let each map print = List.iter (fun (k, v) -> print (show k) v) (sorted map)

(* The state without epochs, stamps and times, which a comparison has to make canonical. *)
let parts = [
  part (fun state -> [ Obj.repr state.objs ]) (fun out state ->
      each state.objs (fun k o -> line out "object %s %s %s" k (if o.o_alive then "alive" else "dying") (body o.o_body)));
  part (fun state -> [ Obj.repr state.slots; Obj.repr state.objs ]) (fun out state ->
      each state.slots (fun k row ->
          List.iter (fun (i, c) ->
              line out "slot %s %s kind %s object %s rights %s %s" k (show i) (show (kind_code c.c_kind)) (show c.c_addr)
                (show c.c_rights) (if live c state then "live" else "dead")) (sorted row)));
  part (fun state -> [ Obj.repr state.frames ]) (fun out state ->
      each state.frames (fun k f -> line out "page %s %s" k (frame f)));
  part (fun state -> [ Obj.repr state.atts ]) (fun out state ->
      each state.atts (fun k a ->
          line out "attached %s space %s at %s rights %s mapped %s" k (show a.a_space) (show a.a_page) (show a.a_rights)
            (show a.a_mapped)));
  part (fun state -> [ Obj.repr state.ptes ]) (fun out state ->
      each state.ptes (fun k row ->
          List.iter (fun (v, e) -> line out "mapped %s %s page %s rights %s" k (show v) (show e.p_frame) (show e.p_rights))
            (sorted row)));
  part (fun state -> [ Obj.repr state.threads ]) (fun out state ->
      each state.threads (fun k t ->
          line out "thread %s %s core %s stopped %b faulting %b signals %b priority %s deadline %s registers %s" k
            (run_name t.t_run) (show t.t_core) t.t_stopped t.t_faulting t.t_signals (show t.t_prio) (show_option t.t_deadline)
            (String.concat " " (List.map show t.t_regs))));
  part (fun state -> [ Obj.repr state.calls ]) (fun out state ->
      each state.calls (fun k c ->
          line out "call %s %s %s" k (match c.k_phase with Served -> "served-by" | Queued -> "queued-at") (show c.k_server)));
  part (fun state -> [ Obj.repr state.stacks ]) (fun out state ->
      each state.stacks (fun k l -> line out "time %s holder-then-lenders %s" k (String.concat " " (List.map show l))));
  part (fun state -> [ Obj.repr state.homes ]) (fun out state -> each state.homes (fun k t -> line out "own %s of %s" k (show t)));
  part (fun state -> [ Obj.repr state.servers ]) (fun out state ->
      each state.servers (fun k t -> line out "portal %s to %s" k (show t)));
  part (fun state -> [ Obj.repr state.bound ]) (fun out state ->
      each state.bound (fun k t -> line out "notification %s of %s" k (show t)));
  part (fun state -> [ Obj.repr state.bits ]) (fun out state -> each state.bits (fun k b -> line out "bits %s %s" k (show b)));
  part (fun state -> [ Obj.repr state.cores ]) (fun out state ->
      each state.cores (fun k c -> line out "core %s current %s" k (show_option c.r_current)));
]
let dump state = String.concat "" (List.map (fun part -> part state) parts)

(* The choices that the scheduler's relation allows after an entry. *)
let allowed core state =
  let state = put_back core state in
  let threads = List.map (fun (k, _) -> Some k) (sorted state.threads) in
  List.filter (fun choice -> may_choose core choice state) (None :: threads)

let rec due = function
  | "thread" :: name :: rest -> DueThread (number name) :: due rest
  | "context" :: name :: rest -> DueContext (number name) :: due rest
  | [] -> []
  | word :: _ -> failwith ("neither thread nor context: " ^ word)

let request = function
  | call :: first :: second :: words when List.length words = 6 ->
      { q_number = number call; q_first = number first; q_second = number second; q_words = List.map number words }
  | _ -> failwith "a call has a number, rdi, rsi and six words"

let action name rest =
  match name, rest with
  | "call", rest -> Syscall (request rest)
  | "fault", [ vector; code; address ] -> Fault (number vector, number code, number address)
  | "timer", rest -> Timer (due rest)
  | "reschedule", [] -> Reschedule
  | _ -> failwith ("no such step: " ^ name)

let result actor state =
  match actor with
  | None -> "actor -"
  | Some name ->
      let registers = List.map show (thr name state).t_regs in
      let register i = try List.nth registers i with _ -> "0" in
      Printf.sprintf "actor %s rax %s rdx %s words %s" (show name) (register 6) (register 7)
        (String.concat " " (List.filteri (fun i _ -> i < 6) registers))

let digest state = Digest.to_hex (Digest.string (dump state))

(* One step; with [?] for the choice, the first that is allowed. *)
let take state core time name choice rest =
  let action = action name rest in
  let who = (match (List.assoc_opt core (entries state.cores)) with Some c -> c.r_current | None -> None) in
  let choices () = allowed core (enter_exec core time action state) in
  let choice = if choice = "?" then (match choices () with first :: _ -> first | [] -> None) else optional choice in
  match step core time action choice state with
  | None ->
      Printf.printf "refused choice %s allowed %s\n" (show_option choice) (String.concat " " (List.map show_option (choices ())));
      state
  | Some next ->
      Printf.printf "ok next %s %s digest %s\n" (show_option choice) (result who next) (digest next);
      next

let machine = function
  | [ small; slots; bits; levels; cores; first; pages ] ->
      let config = { small_objects = number small; slots_per_page = number slots; table_bits = number bits;
                     table_levels = number levels; core_count = number cores; ram = [ (number first, number pages) ] } in
      boot config (number first) (number pages)
  | _ -> failwith "machine SMALL SLOTS BITS LEVELS CORES FIRST PAGES"

let quiet state core action =
  match step core Z.zero action None state with
  | Some next -> Printf.printf "ok digest %s\n" (digest next); next
  | None -> failwith "the machine's own step is never refused"

let perform state line =
  match state, List.filter (fun word -> word <> "") (String.split_on_char ' ' line) with
  | state, [] -> state
  | state, word :: _ when word.[0] = '#' -> state
  | _, "machine" :: rest -> let state = machine rest in Printf.printf "ok digest %s\n" (digest state); Some state
  | None, _ -> failwith "the first line must be: machine ..."
  | Some state, [ "state" ] -> print_string (dump state); print_string "end\n"; Some state
  | Some state, [ "flushed"; core ] -> Some (quiet state (number core) Flushed)
  | Some state, [ "loaded"; core; space ] -> Some (quiet state (number core) (Loaded (optional space)))
  | Some state, name :: core :: time :: choice :: rest -> Some (take state (number core) (number time) name choice rest)
  | Some _, _ -> failwith "a step has a name, a core, a time and a choice"

let () =
  let rec go state count =
    match input_line stdin with
    | exception End_of_file -> ()
    | line -> (
        match perform state line with
        | state -> go state (count + 1)
        | exception (Failure why | Invalid_argument why) ->
            Printf.eprintf "oracle: line %d: %s\n" count why;
            exit 2)
  in
  go None 1
