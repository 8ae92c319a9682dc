/**
 * Drawing commands. The player calls `context[property](...args)` and makes `new window[rr_type](...args)` in the dashboard's own
 * window, so both names are closed lists. (rrweb plays them only with `UNSAFE_replayCanvas`.)
 */
import { isNumber, isObject, type Json, keepSome, listOf, type Scrub } from './scrub.js';
import { isSafeUrl } from './urls.js';

const words = (text: string) => new Set(text.trim().split(/\s+/));

const CALLED_2D = words(`
  arc arcTo beginPath bezierCurveTo clearRect clip closePath createConicGradient createImageData createLinearGradient createPattern
  createRadialGradient drawImage ellipse fill fillRect fillText getImageData getLineDash getTransform isContextLost isPointInPath
  isPointInStroke lineTo measureText moveTo putImageData quadraticCurveTo rect reset resetTransform restore rotate roundRect save scale
  setLineDash setTransform stroke strokeRect strokeText transform translate drawFocusIfNeeded getContextAttributes`);
const SET_2D = words(`
  direction fillStyle filter font fontKerning fontStretch fontVariantCaps globalAlpha globalCompositeOperation imageSmoothingEnabled
  imageSmoothingQuality letterSpacing lineCap lineDashOffset lineJoin lineWidth miterLimit shadowBlur shadowColor shadowOffsetX
  shadowOffsetY strokeStyle textAlign textBaseline textRendering wordSpacing`);
const SET_WEBGL = words('drawingBufferColorSpace unpackColorSpace');
/** Every method of the WebGL contexts begins with one of these verbs; none of Object's dangerous ones does. */
const CALLED_WEBGL =
  /^(?:active|attach|begin|bind|blend|blit|buffer|check|clear|client|color|compile|compressed|copy|create|cull|delete|depth|detach|disable|draw|enable|end|fenceSync|finish|flush|framebuffer|front|generate|get|hint|invalidate|is(?!Prototype)|line|link|pause|pixel|polygon|provoking|read|renderbuffer|resume|sample|scissor|shader|stencil|tex|transform|uniform|use|validate|vertex|viewport|wait)[A-Z0-9a-z]{0,60}$/;

/** What may be made with `new`: buffers, pixels and matrices. */
const MADE = words(`
  ArrayBuffer DataView Int8Array Uint8Array Uint8ClampedArray Int16Array Uint16Array Int32Array Uint32Array Float32Array Float64Array
  ImageData ImageBitmap DOMMatrix Path2D`);
/** What is named by its number. */
const NUMBERED = words(`
  CanvasGradient CanvasPattern WebGLActiveInfo WebGLBuffer WebGLFramebuffer WebGLProgram WebGLQuery WebGLRenderbuffer WebGLSampler
  WebGLShader WebGLShaderPrecisionFormat WebGLSync WebGLTexture WebGLTransformFeedback WebGLUniformLocation WebGLVertexArrayObject
  WebGLVertexArrayObjectOES`);
const SHOWN = words('HTMLImageElement HTMLCanvasElement HTMLVideoElement Image');
const ARGUMENT_DEPTH = 6;
const WEBGL = new Set([1, 2]);

/** The commands of a canvas event that only draw; undefined when none is left. */
export function safeCanvas(scrub: Scrub, data: Json, id: number): Json | undefined {
  const type = data.type;
  if (type !== 0 && !(typeof type === 'number' && WEBGL.has(type))) return undefined;
  if (!Array.isArray(data.commands)) {
    const command = safeCommand(type, data);
    return command === undefined ? undefined : { source: 9, id, type, ...command };
  }
  const commands = keepSome(scrub, data.commands, (command) => safeCommand(type, command));
  return commands.length === 0 ? undefined : { source: 9, id, type, commands };
}

function safeCommand(type: number, command: unknown): Json | undefined {
  if (!isObject(command) || typeof command.property !== 'string') return undefined;
  const { property } = command;
  const setter = command.setter === true;
  const allowed = setter
    ? (type === 0 ? SET_2D : SET_WEBGL).has(property)
    : type === 0
      ? CALLED_2D.has(property)
      : CALLED_WEBGL.test(property);
  if (!allowed) return undefined;
  const args: unknown[] = [];
  for (const argument of listOf(command.args)) {
    const safe = safeArgument(argument, ARGUMENT_DEPTH);
    if (safe === undefined) return undefined;
    args.push(safe);
  }
  return setter ? { property, args, setter } : { property, args };
}

/** An argument that is data, or undefined. */
function safeArgument(value: unknown, depth: number): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'string' || isNumber(value))
    return value;
  if (depth === 0 || typeof value !== 'object') return undefined;
  if (Array.isArray(value)) return safeArguments(value, depth);
  return isObject(value) ? safeThing(value, depth) : undefined;
}

function safeArguments(values: readonly unknown[], depth: number): unknown[] | undefined {
  const safe = values.map((value) => safeArgument(value, depth - 1));
  return safe.includes(undefined) ? undefined : safe;
}

function safeThing(thing: Json, depth: number): Json | undefined {
  const { rr_type, src, base64, index } = thing;
  if (rr_type === undefined) return safeOptions(thing);
  if (typeof rr_type !== 'string') return undefined;
  if (typeof base64 === 'string') return rr_type === 'ArrayBuffer' ? { rr_type, base64 } : undefined;
  if (typeof src === 'string')
    return SHOWN.has(rr_type) && isSafeUrl(src, 'load') ? { rr_type, src } : undefined;
  if (isNumber(index)) return NUMBERED.has(rr_type) ? { rr_type, index } : undefined;
  if (rr_type === 'Blob') {
    const data = safeArguments(listOf(thing.data), depth);
    if (data === undefined) return undefined;
    const picture =
      typeof thing.type === 'string' && /^image\/(?:png|jpeg|gif|webp|avif|bmp)$/.test(thing.type);
    return picture ? { rr_type, data, type: thing.type } : { rr_type, data };
  }
  if (!Array.isArray(thing.args) || !MADE.has(rr_type)) return undefined;
  const args = safeArguments(thing.args, depth);
  return args === undefined ? undefined : { rr_type, args };
}

/** Options such as `{colorSpace: 'srgb'}`. */
function safeOptions(options: Json): Json | undefined {
  const safe: Json = {};
  for (const [name, value] of Object.entries(options)) {
    if (!/^[a-zA-Z]{1,40}$/.test(name)) return undefined;
    if (typeof value === 'object' && value !== null) return undefined;
    safe[name] = value;
  }
  return safe;
}
