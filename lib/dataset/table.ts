import { createReadStream } from 'node:fs'
import { type FileHandle } from 'node:fs/promises'
import { formatCsvRow } from '../csv.ts'
import { createFile, writeWhole } from '../durable.ts'
import type { ExportTree } from './export-tree.ts'

const GATHER_CHARACTERS = 256 * 1024

/** A text file of the tree that grows line by line, and gets its name when it is finished. */
export class Lines {
  readonly #tree: ExportTree
  readonly #unfinished: string
  readonly path: string
  #handle: FileHandle | undefined
  #waiting = ''

  constructor(tree: ExportTree, path: string) {
    this.#tree = tree
    this.#unfinished = tree.newPath()
    this.path = path
  }

  /** Whether nothing was added. */
  get isEmpty(): boolean {
    return this.#handle === undefined && this.#waiting === ''
  }

  /** Adds text as it stands. */
  async add(text: string): Promise<void> {
    this.#waiting += text
    if (this.#waiting.length >= GATHER_CHARACTERS) await this.#flush()
  }

  /** Gives the file its name; where nothing was added there is none. */
  async finish(): Promise<void> {
    if (this.isEmpty) return
    await this.#flush()
    await this.close()
    await this.#tree.write(this.path, createReadStream(this.#unfinished))
  }

  /** Closes what is open; the file is then not finished. */
  async close(): Promise<void> {
    await this.#handle?.close()
  }

  async #flush(): Promise<void> {
    this.#handle ??= await createFile(this.#unfinished)
    const text = this.#waiting
    this.#waiting = ''
    await writeWhole(this.#handle, [Buffer.from(text)])
  }
}

/** A CSV file of the tree with a row of column names. */
export class Table<Column extends string> {
  readonly #lines: Lines
  readonly #columns: readonly Column[]

  constructor(tree: ExportTree, path: string, columns: readonly Column[]) {
    this.#lines = new Lines(tree, path)
    this.#columns = columns
  }

  /** Adds a row; what is left out is an empty cell. */
  async add(row: Readonly<Partial<Record<Column, string | number | undefined>>>): Promise<void> {
    if (this.#lines.isEmpty) await this.begin()
    await this.#lines.add(formatCsvRow(this.#columns.map((column) => row[column])))
  }

  /** Writes the column names, for a table that is to be there without a row. */
  async begin(): Promise<void> {
    await this.#lines.add(formatCsvRow(this.#columns))
  }

  /** Gives the file its name; where there is not even a row of column names there is none. */
  finish(): Promise<void> {
    return this.#lines.finish()
  }

  /** Closes what is open. */
  close(): Promise<void> {
    return this.#lines.close()
  }
}
