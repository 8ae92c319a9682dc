/** What the parent and the processes of a node say to each other over the channel between them. */
import Type, { type Static } from 'typebox';
import { Value } from 'typebox/value';

/** What every process of a node can be asked: its metrics, or how its parts are. */
const Topic = Type.Union([Type.Literal('metrics'), Type.Literal('parts')]);
export type Topic = Static<typeof Topic>;

const Answer = Type.Object({ process: Type.Integer(), data: Type.Unknown() });

const ToParent = Type.Union([
  /** This process serves. `facts` is for the start message. */
  Type.Object({ kind: Type.Literal('up'), facts: Type.Unknown() }),
  /** All processes are to be asked. */
  Type.Object({ kind: Type.Literal('gather'), id: Type.Integer(), topic: Topic }),
  /** Answer to `ask`; without data: it could not be made. */
  Type.Object({ kind: Type.Literal('answer'), id: Type.Integer(), data: Type.Optional(Type.Unknown()) }),
]);
export type ToParent = Static<typeof ToParent>;

const ToProcess = Type.Union([
  Type.Object({ kind: Type.Literal('ask'), id: Type.Integer(), topic: Topic }),
  /** Answer to `gather`. */
  Type.Object({
    kind: Type.Literal('gathered'),
    id: Type.Integer(),
    answers: Type.Array(Answer),
    /** Processes that are away or did not answer in time. */
    missing: Type.Array(Type.Integer()),
  }),
]);
export type ToProcess = Static<typeof ToProcess>;
export type Gathered = Pick<Extract<ToProcess, { kind: 'gathered' }>, 'answers' | 'missing'>;

/** Undefined: not a message of ours. */
export const readToParent = (message: unknown): ToParent | undefined =>
  Value.Check(ToParent, message) ? message : undefined;

export const readToProcess = (message: unknown): ToProcess | undefined =>
  Value.Check(ToProcess, message) ? message : undefined;

/** Longest that the parent waits for answers, ms: a little less than `/ready` waits for its parts. */
export const GATHER_MS = 1_800;
