# packages: sqlite3
# differs: sqlite/*-journal sqlite/wal-*
# A database in every journal mode, alone and by turns with a second process.
# In mode wal that needs a mapping that processes share. What is left of a
# journal and the file of mode wal have random numbers in them.
db() { sqlite3 -batch -bail -cmd '.timeout 20000' "$@"; }
mkdir sqlite; cd sqlite
for mode in delete truncate persist memory wal off; do
	for lock in normal exclusive; do
		name=$mode-$lock
		echo "== $name"
		db $name <<-SQL
			pragma locking_mode=$lock;
			pragma journal_mode=$mode;
			create table t(id integer primary key, k text, v text);
			create index i on t(k);
			with recursive n(i) as (select 1 union all select i+1 from n where i<600)
				insert into t select i, 'key '||i*7919%600, printf('%0200d', i) from n;
			update t set v = 'changed '||id where id % 3 = 0;
			delete from t where id % 5 = 0;
			begin; update t set v = 'part of a transaction' where id < 100; commit;
		SQL
		[ $mode = off ] || db $name <<-SQL # which cannot go back
			pragma locking_mode=$lock;
			pragma cache_size=5;
			begin; update t set v = 'never', k = 'never'; delete from t where id > 300; rollback;
			begin; delete from t where id < 50; savepoint s; delete from t; rollback to s; commit;
		SQL
		db $name 'vacuum; pragma integrity_check; select count(*), sum(length(v)) from t'
		db $name .dump | sha256sum
	done
	[ $mode != off ] || continue
	for writer in 1 2; do
		for i in $(seq 5); do
			echo "begin immediate; insert into t(k, v) values('by two', 'writer $writer'); commit;"
		done | db $mode-normal &
		writers[writer]=$!
	done
	wait "${writers[1]}"
	wait "${writers[2]}"
	db $mode-normal "pragma integrity_check; select v, count(*) from t where k = 'by two' group by v"
	db $mode-normal "delete from t where k = 'by two'; vacuum;"
done
db wal-normal "select count(*) from t"
db wal-normal .dump | sha256sum
